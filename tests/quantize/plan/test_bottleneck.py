"""Which additions are sums of linear bottlenecks, and what becomes of them and of the projections before them."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeopt.models.onnx_macs import count_macs
from edgeopt.profile.placement import quantized_macs_share
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.graph.index import GraphIndex
from edgeopt.quantize.plan.bottleneck import bottleneck_sums, is_projection
from edgeopt.quantize.plan.plan import load_plan, save_plan
from edgeopt.quantize.stage import draft
from edgeopt.targets.target import load_target
from tests.quantize.conftest import fill

BOTTLENECKS = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[n, 8, 12, 12] x) => (float[n, 10] y) {
    e1 = Conv (x, we, be)
    r1 = Relu (e1)
    d1 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 32> (r1, wd, be)
    s1 = Relu (d1)
    p1 = Conv (s1, wp, bp)
    e2 = Conv (p1, we, be)
    r2 = Relu (e2)
    d2 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 32> (r2, wd, be)
    s2 = Relu (d2)
    p2 = Conv (s2, wp, bp)
    a = Add (p2, p1)
    e3 = Conv (a, we, be)
    r3 = Relu (e3)
    g = GlobalAveragePool (r3)
    f = Flatten (g)
    y = Gemm <transB = 1> (f, wg, bg)
}
"""
BOUNDED = BOTTLENECKS.replace("Add (p2, p1)", "Add (h2, h1)").replace("a = Add", "h1 = Relu (p1) h2 = Relu (p2) a = Add")
SHAPES = {"we": (32, 8, 1, 1), "be": (32,), "wd": (32, 1, 3, 3), "wp": (8, 32, 1, 1), "bp": (8,), "wg": (10, 32), "bg": (10,)}


def bottlenecks(text: str = BOTTLENECKS, **shapes) -> onnx.ModelProto:
    model = fill(onnx.parser.parse_model(text), **{**SHAPES, **shapes})
    for node in model.graph.node:
        node.name = node.output[0]
    return model


@pytest.fixture
def batches():
    generator = np.random.default_rng(1)
    return [{"x": generator.standard_normal((2, 8, 12, 12)).astype(np.float32)} for _ in range(8)]


def found(model: onnx.ModelProto) -> tuple[set[str], set[str]]:
    index = GraphIndex(onnx.shape_inference.infer_shapes(model).graph)
    return {node.name for node in model.graph.node if is_projection(node, index)}, set(bottleneck_sums(index))


def test_projections_narrow_what_a_depthwise_convolution_gives():
    assert found(bottlenecks()) == ({"p1", "p2"}, {"a"})


def test_squeeze_and_excitation_may_stand_before_the_projection():
    text = BOTTLENECKS.replace("p2 = Conv (s2", "q2 = Sigmoid (s2) m2 = Mul (s2, q2) p2 = Conv (m2")
    assert found(bottlenecks(text)) == ({"p1", "p2"}, {"a"})


@pytest.mark.parametrize(
    ("what", "text", "shapes"),
    [
        ("no depthwise convolution", BOTTLENECKS.replace(", group = 32", ""), {"wd": (32, 32, 3, 3)}),
        ("activation functions behind the projections", BOUNDED, {}),
        ("a constant is added", BOTTLENECKS.replace("Add (p2, p1)", "Add (p2, c)"), {"c": (1, 8, 1, 1)}),
    ],
)
def test_other_additions_are_no_sums_of_bottlenecks(what, text, shapes):
    assert found(bottlenecks(text, **shapes))[1] == set(), what


def test_a_convolution_that_skips_pixels_is_no_projection():
    text = BOTTLENECKS.replace("p2 = Conv (", "p2 = Conv <strides = [2, 2]> (").replace("Add (p2, p1)", "Relu (p1)")
    assert found(bottlenecks(text)) == (set(), set())


@pytest.mark.parametrize("floating", [True, False])
def test_sums_stay_floating_unless_switched_off(saved, batches, tmp_path, vnni, floating):
    model = saved(bottlenecks())
    config = QuantizeConfig(float_sums=floating)
    made = quantize(model, batches, target=vnni, output=tmp_path / "made.onnx", config=config)
    nodes = {node.name: (node.precision, node.output) for node in load_plan(made.plan_path).nodes}
    assert nodes["a"] == (("float", "float") if floating else ("int8", "int8"))
    assert nodes["p1"] == nodes["p2"] == ("int8", "float" if floating else "int8")
    assert any(decision.what == "sums" for decision in made.facts.decisions) == floating
    written = onnx.load(made.path)
    onnx.checker.check_model(written)
    ops = [node.op_type for node in written.graph.node]
    assert ops.count("MatMulIntegerToFloat") == (2 if floating else 0)
    macs = count_macs(written, batches[0])
    assert sum(macs.values()) == sum(count_macs(onnx.load(model), batches[0]).values())
    assert made.facts.coverage.int8_macs_share == quantized_macs_share(written, macs) == 1.0
    assert made.facts.coverage.islands == ()
    assert {"s1", "s2"} < {layer.name for layer in made.facts.layers}
    assert min(layer.sqnr_db for layer in made.facts.layers) > 30
    session = ort.InferenceSession(str(made.path), providers=["CPUExecutionProvider"])
    exact = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    for batch in batches:
        np.testing.assert_allclose(session.run(None, batch)[0], exact.run(None, batch)[0], atol=0.1)


def test_a_floating_projection_is_nearer_to_the_original(saved, batches, tmp_path, vnni):
    model = saved(bottlenecks())
    noise = {}
    for floating in (True, False):
        config = QuantizeConfig(float_sums=floating)
        made = quantize(model, batches, target=vnni, output=tmp_path / f"{floating}.onnx", config=config)
        noise[floating] = {layer.name: layer.sqnr_db for layer in made.facts.layers}
    assert noise[True]["p2"] > noise[False]["p2"] + 1


def test_a_saved_plan_gives_the_same_bytes_and_an_edited_one_what_it_says(saved, batches, tmp_path, vnni):
    model = saved(bottlenecks())
    made = quantize(model, batches, target=vnni, output=tmp_path / "made.onnx")
    again = quantize(model, batches, target=vnni, output=tmp_path / "again.onnx", config=QuantizeConfig(plan=made.plan_path))
    assert again.path.read_bytes() == made.path.read_bytes()
    rounded = draft(model, batches, target=vnni, config=QuantizeConfig(float_sums=False))
    edited = save_plan(replace(rounded, decisions=()), tmp_path / "edited.onnx")
    other = quantize(model, batches, target=vnni, output=tmp_path / "other.onnx", config=QuantizeConfig(plan=edited))
    assert {(node.precision, node.output) for node in load_plan(other.plan_path).nodes if node.name in {"a", "p1", "p2"}} == {
        ("int8", "int8")
    }


def test_layers_are_timed_in_the_form_that_runs(saved, batches, tmp_path, vnni):
    config = QuantizeConfig(prefer_faster=True)
    made = quantize(saved(bottlenecks()), batches, target=vnni, output=tmp_path / "made.onnx", config=config)
    assert any(decision.what == "faster as floats" for decision in made.facts.decisions)


def test_targets_without_the_rule_round_sums_and_projections(saved, batches):
    plan = draft(saved(bottlenecks()), batches, target=load_target("arm64"), config=QuantizeConfig(exclude=["a"]))
    assert {node.name: node.output for node in plan.nodes if node.name in {"p1", "p2"}} == {"p1": "int8", "p2": "int8"}
