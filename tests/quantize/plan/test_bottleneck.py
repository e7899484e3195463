"""Which additions are sums of linear bottlenecks, and what becomes of them and of the projections before them."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeopt.graph.files import as_ir
from edgeopt.graph.macs import count_macs
from edgeopt.profile.placement import quantized_macs_share
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.plan.bottleneck import bottleneck_sums, is_projection
from edgeopt.quantize.plan.plan import load_plan, save_plan
from edgeopt.quantize.stage import draft
from edgeopt.targets.target import load_target
from tests.quantize.conftest import BOTTLENECKS, bottlenecks

BOUNDED = BOTTLENECKS.replace("Add (p2, p1)", "Add (h2, h1)").replace("a = Add", "h1 = Relu (p1) h2 = Relu (p2) a = Add")


def found(model: onnx.ModelProto) -> tuple[set[str], set[str]]:
    graph = as_ir(onnx.shape_inference.infer_shapes(model)).graph
    return {node.name for node in graph if is_projection(node)}, set(bottleneck_sums(graph))


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
def test_sums_stay_floating_unless_switched_off(saved, bottleneck_batches, tmp_path, patterned, floating):
    model = saved(bottlenecks())
    config = QuantizeConfig(float_sums=floating)
    made = quantize(model, bottleneck_batches, target=patterned, output=tmp_path / "made.onnx", config=config)
    nodes = {node.name: (node.precision, node.output) for node in load_plan(made.plan_path).nodes}
    assert nodes["a"] == (("float", "float") if floating else ("int8", "int8"))
    assert nodes["p1"] == nodes["p2"] == ("int8", "float" if floating else "int8")
    assert any(decision.what == "sums" for decision in made.facts.decisions) == floating
    written = onnx.load(made.path)
    onnx.checker.check_model(written)
    ops = [node.op_type for node in written.graph.node]
    assert ops.count("MatMulIntegerToFloat") == (2 if floating else 0)
    macs = count_macs(written, bottleneck_batches[0])
    assert sum(macs.values()) == sum(count_macs(onnx.load(model), bottleneck_batches[0]).values())
    assert made.facts.coverage.int8_macs_share == quantized_macs_share(written, macs) == 1.0
    assert made.facts.coverage.islands == ()
    assert {"s1", "s2"} < {layer.name for layer in made.facts.layers}
    assert min(layer.sqnr_db for layer in made.facts.layers) > 30
    session = ort.InferenceSession(str(made.path), providers=["CPUExecutionProvider"])
    exact = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    for batch in bottleneck_batches:
        np.testing.assert_allclose(session.run(None, batch)[0], exact.run(None, batch)[0], atol=0.1)


def test_a_floating_projection_is_nearer_to_the_original(saved, bottleneck_batches, tmp_path, patterned):
    model = saved(bottlenecks())
    noise = {}
    for floating in (True, False):
        config = QuantizeConfig(float_sums=floating)
        made = quantize(model, bottleneck_batches, target=patterned, output=tmp_path / f"{floating}.onnx", config=config)
        noise[floating] = {layer.name: layer.sqnr_db for layer in made.facts.layers}
    assert noise[True]["p2"] > noise[False]["p2"] + 1


def test_a_saved_plan_gives_the_same_bytes_and_an_edited_one_what_it_says(saved, bottleneck_batches, tmp_path, patterned):
    model = saved(bottlenecks())
    made = quantize(model, bottleneck_batches, target=patterned, output=tmp_path / "made.onnx")
    again = quantize(
        model, bottleneck_batches, target=patterned, output=tmp_path / "again.onnx", config=QuantizeConfig(plan=made.plan_path)
    )
    assert again.path.read_bytes() == made.path.read_bytes()
    rounded = draft(model, bottleneck_batches, target=patterned, config=QuantizeConfig(float_sums=False))
    edited = save_plan(replace(rounded, decisions=()), tmp_path / "edited.onnx")
    other = quantize(
        model, bottleneck_batches, target=patterned, output=tmp_path / "other.onnx", config=QuantizeConfig(plan=edited)
    )
    assert {(node.precision, node.output) for node in load_plan(other.plan_path).nodes if node.name in {"a", "p1", "p2"}} == {
        ("int8", "int8")
    }


def test_layers_are_timed_in_the_form_that_runs(saved, bottleneck_batches, tmp_path, patterned):
    config = QuantizeConfig(prefer_faster=True)
    made = quantize(saved(bottlenecks()), bottleneck_batches, target=patterned, output=tmp_path / "made.onnx", config=config)
    assert any(decision.what == "faster as floats" for decision in made.facts.decisions)


def test_targets_without_the_rule_round_sums_and_projections(saved, bottleneck_batches):
    plan = draft(saved(bottlenecks()), bottleneck_batches, target=load_target("arm64"), config=QuantizeConfig(exclude=["a"]))
    assert {node.name: node.output for node in plan.nodes if node.name in {"p1", "p2"}} == {"p1": "int8", "p2": "int8"}
