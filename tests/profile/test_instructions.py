"""Instructions of one run: differences of whole processes, and what is said where none are counted."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from edgeopt.errors import MachineError
from edgeopt.profile import instructions
from edgeopt.targets.requests import Sent
from edgeopt.targets.target import load_target


@pytest.fixture
def counting(monkeypatch):
    """Return a function that plants the totals of the three processes and returns the target."""
    target = load_target("arm64-emulated")
    monkeypatch.setattr(instructions, "command_of", lambda target: ([], "python"))
    monkeypatch.setattr(instructions, "read_reply", lambda *_, **__: {})

    def plant(*outcomes):
        left = list(outcomes)
        monkeypatch.setattr(instructions.lifetime, "run", lambda *_, **__: left.pop(0))
        return target

    return plant


def done(total: int | None, *, code: int = 0, said: str = ""):
    text = said if total is None else f"{said}\ncpu 0 insns: 3\ntotal insns: {total}\n"
    return SimpleNamespace(stderr=text, stdout="{}", returncode=code)


def test_the_runs_that_were_added_are_counted(counting):
    target = counting(done(1_000_000), done(1_500_000), done(2_000_000))
    found = instructions.count_instructions(target, Sent("m", "i", {}), runs=10)
    assert (found.per_run, found.apart) == (50_000, 0.0)


def test_differences_that_disagree_are_said(counting):
    target = counting(done(1_000_000), done(1_400_000), done(2_000_000))
    found = instructions.count_instructions(target, Sent("m", "i", {}), runs=10)
    assert found.per_run == 50_000 and found.apart == pytest.approx(0.4)


def test_without_a_count_the_last_line_is_the_reason(counting):
    target = counting(done(None, code=1, said="first\nqemu: no such plugin"))
    with pytest.raises(MachineError, match="counted no instructions: qemu: no such plugin"):
        instructions.count_instructions(target, Sent("m", "i", {}), runs=10)


def test_a_target_without_a_counter_says_why(monkeypatch):
    assert instructions.why_not(load_target("x86-vnni")) == "its emulator does not count instructions"
    monkeypatch.setattr(instructions.shutil, "which", lambda name: None)
    assert "there is no " in instructions.why_not(load_target("arm64-emulated"))
    monkeypatch.setattr(instructions.shutil, "which", lambda name: "/bin/qemu")
    assert instructions.why_not(load_target("arm64-emulated")) is None
