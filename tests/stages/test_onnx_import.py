"""The stage `import`: an ONNX file is copied into the run, and its facts are those of the file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from edgeopt.errors import ModelError
from edgeopt.graph.signature import TensorSpec
from edgeopt.stages.onnx_import import run_import

TEXT = """
<ir_version: 9, opset_import: ["" : 19]>
net (float[batch, 4] x) => (float[batch, 2] y, int64[2] size) { h = MatMul(x, w) y = Relu(h) size = Shape(y) }
"""


def job(model: Path, output: Path) -> Any:
    output.mkdir()
    return SimpleNamespace(recipe=SimpleNamespace(model=model), workspace=SimpleNamespace(output=output))


def test_a_file_from_elsewhere_is_copied_with_its_facts(tmp_path: Path) -> None:
    model = parser.parse_model(TEXT)
    model.graph.initializer.append(numpy_helper.from_array(np.ones((4, 2), np.float32), "w"))
    source = tmp_path / "in" / "net.onnx"
    source.parent.mkdir()
    onnx.save_model(model, source, save_as_external_data=True, location="weights.bin", size_threshold=0)
    facts = run_import(job(source, tmp_path / "out"))
    assert (facts.opset, facts.nodes) == (19, 3)
    assert facts.inputs == (TensorSpec("x", "float32", ("batch", 4)),)
    assert facts.outputs == (TensorSpec("y", "float32", ("batch", 2)), TensorSpec("size", "int64", (2,)))
    assert facts.size_bytes == source.stat().st_size + (source.parent / "weights.bin").stat().st_size
    for file in source.parent.iterdir():
        file.unlink()
    copied = onnx.load(tmp_path / "out" / "model.onnx")
    assert [node.op_type for node in copied.graph.node] == ["MatMul", "Relu", "Shape"]
    assert numpy_helper.to_array(copied.graph.initializer[0]).tolist() == [[1.0, 1.0]] * 4


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"net\.onnx"):
        run_import(job(tmp_path / "net.onnx", tmp_path / "out"))
    assert not (tmp_path / "out" / "model.onnx").exists()
