"""Tables of latency: known blocks are not measured again, those of other versions are."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from edgeopt.errors import MachineError
from edgeopt.prune.latency.bench import Table, bench
from edgeopt.targets.target import load_target

_TEXT = '<ir_version: 8, opset_import: ["" : 17]> g (float[4, 8] x) => (float[4, 8] y) { y = Relu(x) }'


def test_a_known_block_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    onnx.save(onnx.parser.parse_model(_TEXT), tmp_path / "m.onnx")
    inputs = {"x": np.ones((4, 8), np.float32)}
    with bench(load_target("host")) as made:
        first = made.time_ms(tmp_path / "m.onnx", inputs, key="relu")
        assert first > 0 and made.time_ms(tmp_path / "m.onnx", inputs, key="relu") == first and made.measured == 1
        assert made.time_ms(tmp_path / "m.onnx", inputs) > 0 and made.measured == 2
    with bench(load_target("host")) as made:
        assert made.time_ms(tmp_path / "m.onnx", inputs, key="relu") == first and made.measured == 0


def test_a_table_of_other_versions_starts_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    table = Table.open("host", {"versions": {"onnxruntime": "1.0"}})
    table.times["a"] = 1.5
    table.save()
    assert Table.open("host", {"versions": {"onnxruntime": "1.0"}}).times == {"a": 1.5}
    assert Table.open("host", {"versions": {"onnxruntime": "2.0"}}).times == {}
    table.path.write_text(table.path.read_text().replace("1.5", "9.5"))
    assert Table.open("host", {"versions": {"onnxruntime": "1.0"}}).times == {}


def test_an_emulator_has_no_latency() -> None:
    with (
        pytest.raises(MachineError, match=r"its latency means nothing|not available|not installed|needs"),
        bench(load_target("arm64-emulated")),
    ):
        pass
