"""Models opened for evaluation: what their files and folders say of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeopt.errors import ModelError
from edgeopt.evaluate.opened import module_inputs, named, open_model
from edgeopt.models.load import Origin
from edgeopt.models.residual_cnn import ResidualCNN
from edgeopt.models.save import save_model
from tests.stages.conftest import write_linear


def test_an_onnx_file_with_what_lies_beside_it(tmp_path: Path) -> None:
    path = write_linear(tmp_path / "bundle" / "model.onnx", np.eye(4))
    assert open_model(str(path), "a").inputs == ("x",)
    (path.parent / "bundle.json").write_text(json.dumps({"labels": ["a", "b"], "task": "image-classification"}))
    found = open_model(str(path.parent), "a")
    assert (found.names, found.task, found.path) == (("a", "b"), "image-classification", path)
    with pytest.raises(ModelError, match="no such model"):
        open_model(str(tmp_path / "none.onnx"), "a")


def test_a_saved_folder_is_a_pytorch_model(tmp_path: Path) -> None:
    arguments = {"width": 8, "stages": 1, "blocks": 1}
    origin = Origin("edgeopt.models.residual_cnn:ResidualCNN", arguments, task="image-classification", labels=("a",))
    save_model(ResidualCNN(**arguments), tmp_path / "saved", origin=origin)
    found = open_model(str(tmp_path / "saved"), "a")
    assert isinstance(found.module, ResidualCNN)
    assert (found.names, found.task, len(found.inputs)) == (("a",), "image-classification", 1)


def test_inputs_are_those_that_must_be_given() -> None:
    class Two(nn.Module):
        def forward(self, left: torch.Tensor, right: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
            return left + scale * right

    assert module_inputs(Two()) == ("left", "right")
    assert module_inputs(nn.Linear(2, 2)) == ("input",)


def test_models_are_called_by_file_or_folder() -> None:
    assert named(["a/big.onnx", "b/small.onnx", "teacher"]) == ["big", "small", "teacher"]
    assert named(["runs/x/model.onnx", "runs/y/model.onnx"]) == ["x", "y"]
    assert named(["a/m.onnx", "b/m.onnx"]) == ["a/m.onnx", "b/m.onnx"]
