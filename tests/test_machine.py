"""The description of this machine, from the files that Linux has, or without them."""

from pathlib import Path

import pytest

from edgeopt import machine


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Return a function that puts text in the place of a file of /proc; others do not exist."""
    real = Path
    monkeypatch.setattr(machine, "Path", lambda name: real(tmp_path / real(name).name))
    machine.describe.cache_clear()
    machine.cpu_flags.cache_clear()
    yield lambda name, text: (tmp_path / name).write_text(text, encoding="utf-8")
    machine.describe.cache_clear()
    machine.cpu_flags.cache_clear()


def test_processor_memory_and_flags_are_read(files):
    files("cpuinfo", "processor\t: 0\nmodel name\t: Abacus 9 : fast\nflags\t\t: fpu avx2\n\nmodel name\t: other\n")
    files("meminfo", "MemTotal:       2048 kB\nMemFree: 1 kB\n")
    found = machine.describe()
    assert (found["processor"], found["memory_bytes"]) == ("Abacus 9 : fast", 2048 * 1024)
    assert machine.cpu_flags() == {"fpu", "avx2"}


def test_arm_calls_its_flags_features(files):
    files("cpuinfo", "Features\t: asimd dotprod\n")
    assert machine.cpu_flags() == {"asimd", "dotprod"}


def test_without_the_files_what_is_unknown_is_none(files):
    assert machine.describe()["memory_bytes"] is None
    assert machine.cpu_flags() == frozenset()
