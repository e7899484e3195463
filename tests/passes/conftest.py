from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass

from edgeopt.data.batches import Batch


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
