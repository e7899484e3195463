from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgeopt.batches import Batch


def _run(model: onnx.ModelProto, batch: Batch) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return list(ort.InferenceSession(model.SerializeToString(), options).run(None, dict(batch)))


def parse(text: str, **weights: tuple[int, ...]) -> onnx.ModelProto:
    """Read a graph as ONNX text; initializers called as in `weights` get random values of that shape."""
    rng = np.random.default_rng(0)
    model = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 24]>\n' + text)
    for name, shape in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name))
    return onnx.shape_inference.infer_shapes(model)


@pytest.fixture
def rewrite() -> Callable[..., Counter[str]]:
    """Apply a pass, check that the outputs (names, values) stay the same at each batch, and count the operators afterwards."""

    def apply(graph_pass: ir.passes.PassBase, model: onnx.ModelProto, *batches: Batch) -> Counter[str]:
        loaded = ir.from_proto(model)
        graph_pass(loaded)
        changed = ir.to_proto(loaded)
        onnx.checker.check_model(changed)
        assert [value.name for value in changed.graph.output] == [value.name for value in model.graph.output]
        for batch in batches:
            for expected, found in zip(_run(model, batch), _run(changed, batch), strict=True):
                np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        return Counter(node.op_type for node in changed.graph.node)

    return apply


@pytest.fixture
def rewrite_swept(rewrite: Callable[..., Counter[str]]) -> Callable[..., Counter[str]]:
    """Do as `rewrite`, and drop what no longer reaches an output before counting."""

    def apply(graph_pass: ir.passes.PassBase, model: onnx.ModelProto, *batches: Batch) -> Counter[str]:
        return rewrite(ir.passes.Sequential(graph_pass, RemoveUnusedNodesPass()), model, *batches)

    return apply


@pytest.fixture
def parse_graph() -> Callable[..., onnx.ModelProto]:
    return parse


def described(model: ir.Model) -> list[str]:
    """Return a line for each node and output: operators, attributes, constants and edges, whatever values are called."""
    known: dict[ir.Value | None, str] = {None: "-"}
    known |= {value: str(value.name) for value in model.graph.inputs}
    for value in model.graph.initializers.values():
        tensor = value.const_value
        small = tensor.numpy().tolist() if tensor.size <= 8 and tensor.dtype.is_integer() else ""
        known[value] = f"{tensor.dtype}{list(tensor.shape)}{small}"
    lines = []
    for number, node in enumerate(model.graph):
        known |= {value: f"%{number}.{index}" for index, value in enumerate(node.outputs)}
        attributes = {name: item.value for name, item in sorted(node.attributes.items())}
        lines.append(f"{node.domain}:{node.op_type} {attributes} {[known[value] for value in node.inputs]} {len(node.outputs)}")
    return [*lines, *(f"{value.name} = {known[value]} {value.dtype} {value.shape}" for value in model.graph.outputs)]


@pytest.fixture
def golden(rewrite: Callable[..., Counter[str]]) -> Callable[..., None]:
    """Check that a pass turns one graph, as ONNX text, into another, and that both compute the same at each batch."""

    def check(graph_pass: ir.passes.PassBase, before: str, after: str, *batches: Batch, **weights: tuple[int, ...]) -> None:
        sequence = ir.passes.Sequential(graph_pass, RemoveUnusedNodesPass())
        loaded = ir.from_proto(parse(before, **weights))
        sequence(loaded)
        wanted = ir.from_proto(parse(after, **weights))
        RemoveUnusedNodesPass()(wanted)
        assert described(loaded) == described(wanted)
        rewrite(sequence, parse(before, **weights), *batches)

    return check
