"""1 × 1 convolutions as integer matrix products: the same results, and only where floats are wanted."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgeopt.graph.files import as_ir
from edgeopt.passes.pointwise_products import PointwiseProducts
from tests.quantize.conftest import named

NET = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[n, 6, 5, 7] x) => (float[n, 4, 5, 7] y OTHER) {
    q = QuantizeLinear (x, s, z)
    d = DequantizeLinear (q, s, z)
    w = DequantizeLinear <axis = 0> (wq, ws, wz)
    b = DequantizeLinear <axis = 0> (bq, bs, bz)
    c = Conv ATTRIBUTES (d, w, b)
    y = Abs (c)
}
"""


def net(*, attributes: str = "", activation=np.uint8, scales: int = 4, bias: bool = True, other: str = "") -> onnx.ModelProto:
    text = NET.replace("OTHER", other).replace("ATTRIBUTES", attributes)
    if not bias:
        text = text.replace("(d, w, b)", "(d, w)").replace("    b = DequantizeLinear <axis = 0> (bq, bs, bz)\n", "")
    if scales == 1:
        text = text.replace(" <axis = 0>", "")
    model = named(onnx.parser.parse_model(text))
    generator = np.random.default_rng(1)
    ws = generator.uniform(0.001, 0.01, scales).astype(np.float32)
    constants = {
        "s": np.float32(0.02), "z": np.asarray(117 if activation == np.uint8 else -11).astype(activation),
        "wq": generator.integers(-127, 128, (4, 6, 1, 1)).astype(np.int8),
        "ws": ws if scales > 1 else ws[0], "wz": np.zeros(scales if scales > 1 else (), np.int8),
        "bq": generator.integers(-9999, 9999, 4).astype(np.int32), "bs": 0.02 * ws if scales > 1 else np.float32(0.02 * ws[0]),
        "bz": np.zeros(scales if scales > 1 else (), np.int32),
    }  # fmt: skip
    for name, values in constants.items():
        if bias or name[0] != "b":
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values), name))
    return model


def multiply_pointwise(model: onnx.ModelProto) -> int:
    loaded, graph_pass = as_ir(model), PointwiseProducts()
    graph_pass(loaded)
    model.CopyFrom(ir.to_proto(loaded))
    return graph_pass.count


def answer(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(["y"], {"x": x})[0]


@pytest.mark.parametrize("activation", [np.uint8, np.int8])
@pytest.mark.parametrize("scales", [4, 1])
@pytest.mark.parametrize("bias", [True, False])
def test_the_product_is_the_convolution(activation, scales, bias):
    model = net(activation=activation, scales=scales, bias=bias)
    x = np.random.default_rng(0).standard_normal((3, 6, 5, 7)).astype(np.float32)
    before = answer(model, x)
    assert multiply_pointwise(model) == 1
    onnx.checker.check_model(model, full_check=True)
    nodes = {node.op_type: node.name for node in model.graph.node}
    assert nodes["MatMulIntegerToFloat"] == "c" and "Conv" not in nodes and "DequantizeLinear" not in nodes
    assert {tensor.name for tensor in model.graph.initializer} >= {"c_matrix"} and "wq" not in [
        t.name for t in model.graph.initializer
    ]
    np.testing.assert_allclose(answer(model, x), before, rtol=1e-5, atol=1e-6)
    assert len(np.unique(before)) > 100


@pytest.mark.parametrize(
    ("why", "changes"),
    [
        ("pixels are skipped", {"attributes": "<strides = [2, 2]>"}),
        ("zeros are added", {"attributes": "<pads = [1, 1, 1, 1]>"}),
        ("the model gives it", {"other": ", float[n, 4, 5, 7] c"}),
        ("16 bits", {"activation": np.uint16}),
    ],
)
def test_others_stay_convolutions(why, changes):
    model = net(**changes)
    assert multiply_pointwise(model) == 0, why
    assert "Conv" in {node.op_type for node in model.graph.node}


def test_rounded_results_are_left_to_the_integer_convolution():
    model = net()
    del model.graph.node[-1]
    model.graph.node.extend([
        onnx.helper.make_node("QuantizeLinear", ["c", "s", "z"], ["yq"], "yq"),
        onnx.helper.make_node("DequantizeLinear", ["yq", "s", "z"], ["y"], "y"),
    ])  # fmt: skip
    assert multiply_pointwise(model) == 0


def test_other_readers_of_the_integers_keep_them():
    model = net(other=", float[n, 6, 5, 7] d")
    assert multiply_pointwise(model) == 1
    assert [node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"] == ["d"]
    onnx.checker.check_model(model, full_check=True)
