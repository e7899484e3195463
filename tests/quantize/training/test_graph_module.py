from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from edgeopt.errors import ModelError
from edgeopt.graph import files
from edgeopt.graph.outputs import open_exposed
from edgeopt.quantize.apply.qdq import insert_qdq
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.plan.plan import Plan
from edgeopt.quantize.prepare import prepare
from edgeopt.quantize.schemes.scheme import Request
from edgeopt.quantize.schemes.static import draft
from edgeopt.quantize.training.graph_module import GraphModule
from edgeopt.targets.target import load_target


@pytest.fixture
def conv_net(conv_model: onnx.ModelProto, saved: Callable[[onnx.ModelProto], Path]) -> Path:
    return saved(conv_model)


def _made(path: Path, samples: list[dict[str, np.ndarray]], target: str) -> tuple[ir.Model, ir.Model, Plan]:
    chosen = load_target(target)
    prepared = prepare(files.load(path), "net")
    plan = draft(Request(prepared, samples, QuantizeConfig(smooth=False, equalize=False), target=chosen, path=path))
    return prepared.model, insert_qdq(prepared.model, plan), plan


@pytest.mark.parametrize("target", ["x86-vnni", "x86-avx2", "nnapi", "qnn-htp-emulated"])
def test_module_gives_what_onnxruntime_gives(conv_net: Path, images: list[dict[str, np.ndarray]], target: str) -> None:
    floating, quantized, plan = _made(conv_net, images, target)
    module = GraphModule(quantized, floating, plan)
    session = open_exposed(quantized, threads=1, optimize=False)
    for sample in images[:3]:
        with torch.no_grad():
            made = module({name: torch.from_numpy(array) for name, array in sample.items()})["y"].numpy()
        np.testing.assert_allclose(made, session.run(["y"], sample)[0], rtol=1e-3, atol=1e-4)


def test_what_is_written_is_what_was_trained(conv_net: Path, images: list[dict[str, np.ndarray]]) -> None:
    floating, quantized, plan = _made(conv_net, images, "x86-avx2")
    module = GraphModule(quantized, floating, plan)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in module.weights:
            weight.add_(0.05 * weight.abs().mean() * torch.randn(weight.shape, generator=generator))
        for bias in module.biases:
            bias.values += 0.01
        for grid in module.grids:
            grid.ratio *= 1.1
        before = [node.op_type for node in quantized.graph]
        made = module({name: torch.from_numpy(array) for name, array in images[0].items()})["y"].numpy()
    module.write()
    assert [node.op_type for node in quantized.graph] == before
    got = open_exposed(quantized, threads=1, optimize=False).run(["y"], images[0])[0]
    np.testing.assert_allclose(got, made, rtol=1e-3, atol=1e-4)


def test_gradients_reach_weights_biases_and_scales_and_no_inputs_of_shapes(
    conv_net: Path, images: list[dict[str, np.ndarray]]
) -> None:
    floating, quantized, plan = _made(conv_net, images, "x86-vnni")
    module = GraphModule(quantized, floating, plan)
    module({name: torch.from_numpy(array) for name, array in images[0].items()})["y"].square().sum().backward()
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in module.weights)
    assert all(bias.values.grad is not None for bias in module.biases)
    assert sum(grid.ratio.grad is not None and bool(grid.ratio.grad.any()) for grid in module.grids) >= len(module.weights)


def test_operators_without_a_form_in_pytorch_are_named() -> None:
    text = '<ir_version: 10, opset_import: ["" : 21]> net (float[n, 3, 3] x) => (float[n] y) { y = Det (x) }'
    model = ir.from_proto(onnx.parser.parse_model(text))
    with pytest.raises(ModelError, match="cannot train through Det"):
        GraphModule(model, model, Plan("x86-vnni", None, (), (), ()))  # type: ignore[arg-type]
