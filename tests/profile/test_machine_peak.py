"""The roof of a device: measured through the runner, kept, and measured again where what was kept is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import onnxruntime
import pytest

from edgeopt.profile import machine_peak
from edgeopt.profile.peak import Peak
from edgeopt.targets.replies import Hello
from edgeopt.targets.requests import Duration
from edgeopt.targets.target import load_target
from edgeopt.targets.transports.local import this_machine


def test_the_peak_is_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(machine_peak, "_SUM_BYTES", (3 << 16, 3 << 20))
    monkeypatch.setattr(machine_peak, "_DURATION", Duration(0.01, fewest=5, most=2000))
    hello = Hello(1, {"onnxruntime": onnxruntime.__version__}, [], {"cpu": "x"}, overhead_ns=0.0)
    session = {"provider": load_target("x86-avx2").provider.name, "threads": 1}
    with this_machine().start() as runner:
        first = machine_peak.find_peak(this_machine(), runner, session, hello)
    assert first.operations_per_s["int8"] >= first.operations_per_s["fp32"] > 1e8
    assert [level.bytes_per_s > 1e7 for level in first.bandwidth] == [True, True]
    [kept] = (tmp_path / "edgeopt" / "peaks").iterdir()
    assert machine_peak.find_peak(this_machine(), None, session, hello) == first  # type: ignore[arg-type]
    faster = {**json.loads(kept.read_text()), "operations_per_s": {"fp32": 1.0, "int8": 2.0}}
    for damage in ({"half": "written"}, faster):
        kept.write_text(json.dumps(damage))
        with pytest.raises(AttributeError):  # damaged: it would be measured again, here without a runner
            machine_peak.find_peak(this_machine(), None, session, hello)  # type: ignore[arg-type]


def test_a_home_that_cannot_be_written_costs_the_cache_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    peak = Peak({"fp32": 1.0, "int8": 2.0}, [])
    monkeypatch.setattr(machine_peak, "measure_peak", lambda *_: peak)
    assert machine_peak.find_peak(this_machine(), None, {}, Hello(1, {}, [], {}, overhead_ns=0.0)) is peak  # type: ignore[arg-type]
