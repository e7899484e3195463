from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeopt.graph import files
from edgeopt.quantize.apply.qdq import insert_qdq
from edgeopt.quantize.apply.smooth import smoothed
from edgeopt.quantize.config import QuantizeConfig, TrainingOptions
from edgeopt.quantize.prepare import prepare
from edgeopt.quantize.schemes.scheme import Request
from edgeopt.quantize.schemes.static import draft
from edgeopt.quantize.search.trials import Outcome
from edgeopt.quantize.training.run import TrainingRun, prepared_run
from edgeopt.targets.target import load_target


def _residual_network() -> onnx.ModelProto:
    """Three residual blocks of three pointwise convolutions, whose channels differ in size by up to 30 times."""
    generator = np.random.default_rng(3)
    lines, tensors, given = [], [], "x"
    for block in range(3):
        for layer in range(3):
            name = f"{block}{layer}"
            weight = generator.standard_normal((4, 4, 1, 1)) * np.geomspace(0.03, 1, 4)[:, None, None, None]
            tensors.append(onnx.numpy_helper.from_array(weight.astype(np.float32), f"w{name}"))
            tensors.append(onnx.numpy_helper.from_array(np.full(4, 0.1, np.float32), f"b{name}"))
            source = given if layer == 0 else f"r{block}{layer - 1}"
            lines.append(f"c{name} = Conv ({source}, w{name}, b{name})")
            if layer < 2:
                lines.append(f"r{name} = Relu (c{name})")
        output = "y" if block == 2 else f"s{block}"
        lines.append(f"{output} = Add (c{block}2, {given})")
        given = output
    text = (
        f'<ir_version: 10, opset_import: ["" : 21]> net (float[n, 4, 6, 6] x) => (float[n, 4, 6, 6] y) {{ {" ".join(lines)} }}'
    )
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(tensors)
    return model


@pytest.fixture
def residual_run(tmp_path: Path) -> TrainingRun:
    """A training of a residual network on 24 samples, for a target with one scale per weight tensor."""
    path = tmp_path / "residual.onnx"
    onnx.save(_residual_network(), path)
    generator = np.random.default_rng(0)
    samples = [{"x": generator.standard_normal((1, 4, 6, 6), dtype=np.float32)} for _ in range(24)]
    prepared = prepare(files.load(path), "net")
    config = QuantizeConfig(smooth=False, equalize=False, correct_bias=False)
    plan = draft(Request(prepared, samples, config, target=load_target("nnapi"), path=path))
    outcome = Outcome(plan, insert_qdq(prepared.model, plan))
    options = TrainingOptions(time=600, batch_size=8, steps=20, block_steps=20, learning_rate=0.05, block_learning_rate=0.05)
    return prepared_run(smoothed(prepared.model, plan), outcome, samples, prepared.signature, options)
