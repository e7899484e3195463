"""Which convolutions are projections of linear bottlenecks, and what becomes of them before a floating-point Add."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeopt.graph.files import as_ir
from edgeopt.graph.macs import count_macs
from edgeopt.profile.placement import quantized_macs_share
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.plan.plan import load_plan
from edgeopt.quantize.plan.projection import is_projection
from edgeopt.quantize.stage import draft
from edgeopt.targets.target import load_target
from tests.quantize.conftest import BOTTLENECKS, bottlenecks


def projections(text: str = BOTTLENECKS, **shapes: tuple[int, ...]) -> set[str | None]:
    model = onnx.shape_inference.infer_shapes(bottlenecks(text, **shapes))
    return {node.name for node in as_ir(model).graph if is_projection(node)}


def config(*, floating: bool) -> QuantizeConfig:
    return QuantizeConfig(float_layers="none", exclude=["a"] if floating else [])


def test_projections_narrow_what_a_depthwise_convolution_gives():
    assert projections() == {"p1", "p2"}


def test_squeeze_and_excitation_may_stand_before_the_projection():
    assert projections(BOTTLENECKS.replace("p2 = Conv (s2", "q2 = Sigmoid (s2) m2 = Mul (s2, q2) p2 = Conv (m2")) == {
        "p1",
        "p2",
    }


ACTIVATED = BOTTLENECKS.replace("a = Add (p2, p1)", "h = Relu (p2) a = Add (h, p1)")
STRIDED = BOTTLENECKS.replace("p2 = Conv (", "p2 = Conv <strides = [2, 2]> (").replace("Add (p2, p1)", "Relu (p1)")
WIDE = BOTTLENECKS.replace("float[n, 8, 12, 12] x", "float[n, 64, 12, 12] x")


@pytest.mark.parametrize(
    ("what", "text", "shapes", "expected"),
    [
        ("no depthwise convolution", BOTTLENECKS.replace(", group = 32", ""), {"wd": (32, 32, 3, 3)}, set()),
        ("an activation function behind it", ACTIVATED, {}, {"p1"}),
        ("it widens", WIDE, {"wp": (64, 32, 1, 1), "bp": (64,), "we": (32, 64, 1, 1)}, set()),
        ("it skips pixels", STRIDED, {}, set()),
    ],
)  # fmt: skip
def test_other_convolutions_are_none(what, text, shapes, expected):
    assert projections(text, **shapes) == expected, what


@pytest.mark.parametrize("floating", [True, False])
def test_projections_before_a_floating_add_return_floats(saved, bottleneck_batches, tmp_path, vnni, floating):
    model = saved(bottlenecks())
    made = quantize(model, bottleneck_batches, target=vnni, output=tmp_path / "made.onnx", config=config(floating=floating))
    nodes = {node.name: (node.precision, node.output) for node in load_plan(made.plan_path).nodes}
    assert nodes["a"] == (("float", "float") if floating else ("int8", "int8"))
    assert nodes["p1"] == nodes["p2"] == ("int8", "float" if floating else "int8")
    written = onnx.load(made.path)
    onnx.checker.check_model(written)
    ops = [node.op_type for node in written.graph.node]
    assert ops.count("MatMulIntegerToFloat") == (2 if floating else 0)
    macs = count_macs(as_ir(written), bottleneck_batches[0])
    assert sum(macs.values()) == sum(count_macs(as_ir(onnx.load(model)), bottleneck_batches[0]).values())
    assert made.facts.coverage.int8_macs_share == quantized_macs_share(as_ir(written), macs) == 1.0
    assert made.facts.coverage.islands == ()
    assert {"s1", "s2"} < {layer.name for layer in made.facts.layers}
    assert min(layer.sqnr_db for layer in made.facts.layers) > 30
    session = ort.InferenceSession(str(made.path), providers=["CPUExecutionProvider"])
    exact = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    for batch in bottleneck_batches:
        np.testing.assert_allclose(session.run(None, batch)[0], exact.run(None, batch)[0], atol=0.1)


def test_a_floating_projection_is_nearer_to_the_original(saved, bottleneck_batches, tmp_path, vnni):
    model = saved(bottlenecks())
    error = {}
    for floating in (True, False):
        output = tmp_path / f"{floating}.onnx"
        made = quantize(model, bottleneck_batches, target=vnni, output=output, config=config(floating=floating))
        error[floating] = {layer.name: layer.sqnr_db for layer in made.facts.layers}
    assert error[True]["p2"] > error[False]["p2"] + 1


def test_a_saved_plan_gives_the_same_bytes(saved, bottleneck_batches, tmp_path, vnni):
    model = saved(bottlenecks())
    made = quantize(model, bottleneck_batches, target=vnni, output=tmp_path / "made.onnx", config=config(floating=True))
    replay = QuantizeConfig(plan=made.plan_path)
    again = quantize(model, bottleneck_batches, target=vnni, output=tmp_path / "again.onnx", config=replay)
    assert again.path.read_bytes() == made.path.read_bytes()


def test_layers_are_timed_in_the_form_that_runs(saved, bottleneck_batches, tmp_path, vnni):
    timed = QuantizeConfig(prefer_faster=True, float_layers="none", exclude=["a"])
    made = quantize(saved(bottlenecks()), bottleneck_batches, target=vnni, output=tmp_path / "made.onnx", config=timed)
    assert any(decision.what == "faster as floats" for decision in made.facts.decisions)


def test_targets_without_the_rule_round_projections(saved, bottleneck_batches):
    plan = draft(saved(bottlenecks()), bottleneck_batches, target=load_target("arm64"), config=QuantizeConfig(exclude=["a"]))
    assert {node.name: node.output for node in plan.nodes if node.name in {"p1", "p2"}} == {"p1": "int8", "p2": "int8"}
