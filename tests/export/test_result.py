"""The result of an export as plain values."""

from __future__ import annotations

import json
from pathlib import Path

from edgeopt.export.result import Decoding, ExportResult, Parity
from edgeopt.graph.signature import TensorSpec


def test_facts_are_json_without_folders(tmp_path: Path) -> None:
    files = (tmp_path / "out" / "model.onnx", tmp_path / "out" / "model.onnx.data")
    result = ExportResult(
        24, "float32", "fused", "apart", "bert", "fill-mask", 3, {"Relu": 3}, (TensorSpec("x", "float32", ("batch", 4)),), (),
        Parity(0.5, 0.25, 1e-4, 8, ("x 1×4",), passed=False), 1234, {"fold": 2}, ("odd",), files[0], files,
        decoder="portable", decoding=Decoding(0.125, 10, 9, 0.5),
    )  # fmt: skip
    facts = json.loads(json.dumps(result.facts()))
    assert str(tmp_path) not in json.dumps(facts)
    assert "path" not in facts and facts["files"] == ["model.onnx", "model.onnx.data"]
    assert facts["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["batch", 4], "ranked": True}]
    assert facts["parity"] == {
        "max_abs_error": 0.5,
        "relative_error": 0.25,
        "tolerance": 1e-4,
        "samples": 8,
        "shapes": ["x 1×4"],
        "passed": False,
    }
    assert (facts["decoder"], facts["decoding"]["same_tokens"], facts["passes"]) == ("portable", 9, {"fold": 2})
