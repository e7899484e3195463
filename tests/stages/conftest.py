"""A job whose stage works on one small ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeopt.recipe import DataOptions, Recipe
from edgeopt.stages.job import Job
from edgeopt.stages.results import StageFacts
from edgeopt.stages.samples import Data
from edgeopt.store import Store
from edgeopt.targets.target import load_target

MakeJob = Callable[..., Job]


def write_linear(path: Path, weights: np.ndarray) -> Path:
    """Write y = x · weights as an ONNX file."""
    rows, columns = weights.shape
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 21]> g (float[n, {rows}] x) => (float[n, {columns}] y) {{ y = MatMul (x, w) }}'
    )
    model.graph.initializer.append(numpy_helper.from_array(weights.astype(np.float32), "w"))
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


@pytest.fixture
def make_job(tmp_path: Path) -> MakeJob:
    """Return a function that makes a job from models by stage and their results; its data are eight labelled rows."""
    samples = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0, 1, 2, 3]]
    np.savez(tmp_path / "rows.npz", x=samples, labels=np.array([0, 1, 2, 3] * 2))

    def make(models: dict[str, np.ndarray], facts: dict[str, StageFacts], **recipe: object) -> Job:
        inputs = {}
        for stage, weights in models.items():
            inputs[stage] = write_linear(tmp_path / stage / "model.onnx", weights).parent
        model = next(iter(inputs.values())) / "model.onnx"
        options = DataOptions.model_validate(recipe.pop("data", {"set": str(tmp_path / "rows.npz")}))
        values = Recipe.model_validate({"name": "r", "data": options, "model": str(model), **recipe})
        data = Data(options, None, model=model)
        workspace = Store(tmp_path / "run").workspace("stage", "0" * 16)
        return Job(values, load_target("host"), data, inputs, facts, workspace)

    return make
