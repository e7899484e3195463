"""Padded input channels: the same results to the bit, and only where padding is safe."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgeopt.graph.files import as_ir
from edgeopt.passes.input_channels import InputChannels

NET = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[n, 3, 8, 8] x) => (float[n, OUT, 4, 4] y OTHER) {
    q = QuantizeLinear (x, s, z)
    d = DequantizeLinear (q, s, z)
    w = DequantizeLinear <axis = 0> (wq, ws, wz)
    c = Conv <kernel_shape = [3, 3], strides = [2, 2], pads = [0, 0, 1, 1]> (d, w)
    cq = QuantizeLinear (c, cs, cz)
    y = DequantizeLinear (cq, cs, cz)
}
"""


def net(*, shared: bool = False, outputs: int = 16) -> onnx.ModelProto:
    text = NET.replace("OUT", str(outputs)).replace("OTHER", ", float[n, 3, 8, 8] d" if shared else "")
    model = onnx.parser.parse_model(text)
    generator = np.random.default_rng(1)
    for name, values in {
        "s": np.float32(0.02), "z": np.uint8(117), "cs": np.float32(0.05), "cz": np.uint8(128),
        "wq": generator.integers(-127, 128, (outputs, 3, 3, 3)).astype(np.int8),
        "ws": generator.uniform(0.001, 0.01, outputs).astype(np.float32), "wz": np.zeros(outputs, np.int8),
    }.items():  # fmt: skip
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values), name))
    return model


def pad_input_channels(model: onnx.ModelProto, multiple: int) -> int:
    loaded, graph_pass = as_ir(model), InputChannels(multiple)
    graph_pass(loaded)
    model.CopyFrom(ir.to_proto(loaded))
    return graph_pass.count


def answer(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(["y"], {"x": x})[0]


def test_padding_changes_no_bit() -> None:
    model = net()
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    before = answer(model, x)
    assert pad_input_channels(model, 4) == 1
    onnx.checker.check_model(model, full_check=True)
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "wq")
    assert list(weight.dims) == [16, 4, 3, 3]
    np.testing.assert_array_equal(answer(model, x), before)
    assert len(np.unique(before)) > 20


@pytest.mark.parametrize("multiple", [1, 3])
def test_channels_that_fit_stay(multiple: int) -> None:
    model = net()
    assert pad_input_channels(model, multiple) == 0
    assert "Pad" not in {node.op_type for node in model.graph.node}


def test_an_input_that_others_read_stays() -> None:
    assert pad_input_channels(net(shared=True), 4) == 0


def test_wide_integers_are_left_alone() -> None:
    model = net()
    for tensor in model.graph.initializer:
        if tensor.name == "z":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.uint16(30000), "z"))
    assert pad_input_channels(model, 4) == 0


@pytest.mark.parametrize(("outputs", "padded"), [(8, 0), (12, 0), (16, 1), (24, 1)])
def test_few_output_channels_do_not_pay_for_the_padding(outputs: int, padded: int) -> None:
    assert pad_input_channels(net(outputs=outputs), 4) == padded
