"""Means over the picture become pools, and compute the same."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeopt.passes.global_pooling import pool_means
from edgeopt.quantize.prepare import infer_types

MEAN = """
<ir_version: 10, opset_import: ["" : 18]>
mean (float[n, 3, 5, 4] x) => (float y) {
    axes = Constant <value = int64[2] {AXES}> ()
    y = ReduceMean <keepdims = KEEP> (x, axes)
}
"""


def mean(axes: str, keep: int) -> onnx.ModelProto:
    model = onnx.parser.parse_model(MEAN.replace("AXES", axes).replace("KEEP", str(keep)))
    constant = model.graph.node[0]
    model.graph.initializer.add().CopyFrom(constant.attribute[0].t)
    model.graph.initializer[0].name = "axes"
    del model.graph.node[0]
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    return infer_types(model)


def answer(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


@pytest.mark.parametrize(("axes", "keep"), [("2, 3", 1), ("-1, -2", 1), ("2, 3", 0)])
def test_a_mean_over_the_picture_becomes_a_pool(axes: str, keep: int) -> None:
    model = mean(axes, keep)
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 4)).astype(np.float32)
    before = answer(model, x)
    assert pool_means(model) == 1
    assert [node.op_type for node in model.graph.node] == ["GlobalAveragePool"] + ["Flatten"] * (1 - keep)
    np.testing.assert_allclose(answer(model, x), before, atol=1e-6)
    assert before.shape == ((2, 3, 1, 1) if keep else (2, 3))


@pytest.mark.parametrize("axes", ["1, 2", "0, 3"])
def test_other_means_stay(axes: str) -> None:
    model = mean(axes, 1)
    assert pool_means(model) == 0
    assert [node.op_type for node in model.graph.node] == ["ReduceMean"]
