"""Which range an activation gets, and where integers stop."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.plan.placement import place
from edgeopt.quantize.plan.plan import Plan
from edgeopt.quantize.prepare import prepare
from edgeopt.quantize.search import range_choice
from edgeopt.quantize.stage import draft
from edgeopt.targets.target import load_target
from tests.quantize.conftest import conv_net, fill

BATCHES = [{"x": np.random.default_rng(seed).standard_normal((1, 3, 16, 16)).astype(np.float32)} for seed in range(4)]


def plan_of(tmp_path: Path, config: QuantizeConfig) -> Plan:
    path = tmp_path / "model.onnx"
    onnx.save(conv_net(), path)
    return draft(path, BATCHES, target=load_target("x86-vnni"), config=config)


def test_unbounded_sums_are_clipped_and_what_relu_gives_is_not(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(range_choice, "CLEARLY_DB", 1000.0)  # no single method takes the place of auto
    plan = plan_of(tmp_path, QuantizeConfig())
    assert {name: tensor.method for tensor in plan.tensors if (name := tensor.name) in {"x", "r", "c", "s", "p"}} == {
        "x": "min-max",
        "r": "min-max",
        "c": "mse",
        "s": "mse",
        "p": "min-max",
    }
    widest = {tensor.name: tensor for tensor in plan_of(tmp_path, QuantizeConfig(ranges="min-max")).tensors}
    mine = {tensor.name: tensor for tensor in plan.tensors}
    assert mine["c"].high - mine["c"].low < widest["c"].high - widest["c"].low
    assert (mine["r"].low, mine["r"].high) == (widest["r"].low, widest["r"].high)


BOUNDED = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[n, 3, 16, 16] x) => (float[n, 8, 16, 16] y, float[n, 8, 16, 16] z) {
    a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w1, b1)
    r = Relu (a)
    y = Softmax <axis = 1> (r)
    c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w2, b1)
    s = Sigmoid (c)
    z = Softmax <axis = 1> (s)
}
"""


def test_relu_behind_a_convolution_bounds_what_it_rounds_even_where_floats_follow() -> None:
    net = fill(onnx.parser.parse_model(BOUNDED), w1=(8, 3, 3, 3), w2=(8, 3, 3, 3), b1=(8,))
    model = prepare(ir.from_proto(net), "net").model
    precisions = {node.op: node.precision for node in place(model, {})}
    assert precisions == {"Conv": "int8", "Relu": "int8", "Softmax": "float", "Sigmoid": "float"}


def test_one_weight_scale_a_tensor_leaves_channels_unsmoothed(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> net (float[n, 64] x) => (float[n, 64] y) '
        "{ h = LayerNormalization <axis = -1> (x, g, b) y = MatMul (h, w) }"
    )
    gains = np.where(np.arange(64) % 16 == 0, 60, 1).astype(np.float32)  # few large channels: smoothing pays
    weight = (generator.standard_normal((64, 64)) / gains[:, None]).astype(np.float32)
    for name, values in (("g", gains), ("b", np.zeros(64, np.float32)), ("w", weight)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    onnx.save(model, tmp_path / "model.onnx")
    rows = [{"x": generator.standard_normal((32, 64)).astype(np.float32)} for _ in range(4)]
    target = load_target("x86-vnni")
    single = target.model_copy(update={"quantization": target.quantization.model_copy(update={"per_channel": False})})
    smoothed = [draft(tmp_path / "model.onnx", rows, target=item).smoothing for item in (target, single)]
    assert smoothed[0]
    assert not smoothed[1]


def test_a_smoothed_activation_that_an_addition_reads_as_well_has_a_range_of_its_own(tmp_path: Path) -> None:
    """A pair of [-1, 1] stood there before, whatever the activation held."""
    generator = np.random.default_rng(0)
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> net (float[n, 4, 64] x) => (float[n, 4, 64] y) '
        "{ m = MatMul (x, w) y = Add (m, x) }"
    )
    gains = np.where(np.arange(64) % 16 == 0, 60, 1).astype(np.float32)
    weight = (generator.standard_normal((64, 64)) / gains[:, None]).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, tmp_path / "model.onnx")
    rows = [{"x": gains * generator.standard_normal((8, 4, 64)).astype(np.float32)} for _ in range(4)]
    plan = draft(tmp_path / "model.onnx", rows, target=load_target("qnn-htp-emulated"), config=QuantizeConfig(wide_db=None))
    assert [item.name for item in plan.smoothing] == ["x"]
    ranges = {tensor.name: tensor for tensor in plan.tensors}
    assert ranges["x"].high > 60 and ranges["x"].method == "min-max"
    assert ranges["x_smoothed"].method == "product"
