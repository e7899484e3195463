"""Teachers: PyTorch modules and ONNX files say the same."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from edgeopt.errors import ModelError
from edgeopt.models.call import named_outputs
from edgeopt.train.objective import TrainBatch
from edgeopt.train.teachers import OnnxTeacher, TorchTeacher

_TEXT = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[n, 3] x) => (float[n, 2] scores)
<float[3, 2] w = {1, 2, 3, 4, 5, 6}, float[2] b = {0.5, -0.5}> {
    m = MatMul (x, w)
    scores = Add (m, b)
}
"""


def test_an_onnx_file_stands_in_for_the_module(tmp_path: Path) -> None:
    onnx.save(onnx.parser.parse_model(_TEXT), tmp_path / "teacher.onnx")
    module = nn.Linear(3, 2)
    module.load_state_dict({"weight": torch.tensor([[1.0, 3, 5], [2, 4, 6]]), "bias": torch.tensor([0.5, -0.5])})
    batch = TrainBatch({"input": torch.randn(4, 3)}, (0, 1, 2, 3))
    theirs = TorchTeacher(module, named_outputs).said(batch).outputs["logits"]
    same = TrainBatch({"x": batch.inputs["input"]}, batch.indices)
    ours = OnnxTeacher(tmp_path / "teacher.onnx").said(same).outputs["logits"]
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert not theirs.requires_grad
    with pytest.raises(ModelError, match="has the input 'x', which the samples lack: input"):
        OnnxTeacher(tmp_path / "teacher.onnx").said(batch)


def test_modules_are_recorded(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    batch = TrainBatch({"input": torch.randn(4, 3)}, (0, 1, 2, 3))
    said = TorchTeacher(module, named_outputs, ["0"]).said(batch)
    assert torch.equal(said.recorded["0"], module[0](batch.inputs["input"]))
