"""From calibration data to a plan: exceptions, tensors without a range, saved plans."""

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeopt.errors import RecipeError
from edgeopt.quantize import QuantizeConfig, planner
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import SmoothPlan
from edgeopt.quantize.planner import draft_plan, excluded_nodes
from edgeopt.quantize.prepare import prepare
from edgeopt.quantize.search.simulation import Simulation
from edgeopt.targets.target import load_target
from tests.quantize.conftest import conv_net, named, text_net


@pytest.fixture
def prepared():
    return prepare(ir.from_proto(named(conv_net())), "net")


def test_a_wrong_name_is_refused_with_the_nearest(prepared):
    name = next(node.name for node in prepared.model.graph if node.op_type == "Conv")
    assert excluded_nodes(prepared.model, QuantizeConfig(exclude=[name])) == {name: (Cause.EXCLUDED, "")}
    with pytest.raises(RecipeError, match=rf"no node '{name}x' \(did you mean '{name}'\?\)"):
        excluded_nodes(prepared.model, QuantizeConfig(exclude=[f"{name}x"]))


def test_every_rounded_tensor_has_a_range_that_holds_what_was_seen(prepared, images, vnni):
    drafted = draft_plan(prepared, images, vnni, QuantizeConfig(ranges="min-max"))
    ranges = {tensor.name: tensor for tensor in drafted.plan.tensors}
    seen = np.concatenate([batch["x"].ravel() for batch in images])
    assert (ranges["x"].low, ranges["x"].high) == pytest.approx((seen.min(), seen.max()), rel=1e-5)
    assert drafted.observations.samples == 8


def test_a_layer_that_no_sample_reaches_stays_floating(vnni):
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 4] x, int64[k] rows) => (float[k, 4] y) '
        "{ [pick] p = Gather (x, rows) [product] y = MatMul (p, w) }"
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.eye(4, dtype=np.float32), "w"))
    batches = [{"x": np.ones((3, 4), np.float32), "rows": np.zeros(0, np.int64)}]
    prepared = prepare(ir.from_proto(model), "net", rewrite=False)
    [node] = [node for node in draft_plan(prepared, batches, vnni, QuantizeConfig()).plan.nodes if node.name == "product"]
    assert (node.precision, node.cause, node.detail) == ("float", Cause.UNSEEN, "p")


def test_a_saved_plan_without_a_range_or_with_other_channels_is_refused(sentences, vnni):
    prepared = prepare(ir.from_proto(text_net()), "net")
    config = QuantizeConfig(plan="saved.plan.json", smooth=False)
    plan = draft_plan(prepared, sentences, vnni, QuantizeConfig(smooth=False)).plan
    missing = replace(plan, tensors=plan.tensors[1:])
    with pytest.raises(RecipeError, match=f"the plan rounds '{plan.tensors[0].name}' and has no range for it"):
        draft_plan(prepared, sentences, vnni, config, missing)
    wrong = replace(plan, smoothing=(SmoothPlan(plan.tensors[0].name, 0.5, (1.0, 2.0)),))
    with pytest.raises(RecipeError, match="its smoothing 2 factors; make the plan again"):
        draft_plan(prepared, sentences, vnni, config, wrong)


def test_kernels_that_saturate_count_their_seven_bit_layers(prepared, images):
    plan = draft_plan(prepared, images, load_target("x86-avx2"), QuantizeConfig()).plan
    reduced = sum(node.reduce_range for node in plan.nodes)
    assert next(it.choice for it in plan.decisions if it.what == "7-bit weights") == f"{reduced} of 3 layers"


@pytest.mark.parametrize(("target", "simulated"), [("arm64", True), ("nnapi", False)])
def test_ranges_are_compared_with_rounded_weights_where_these_bring_much_noise(
    prepared, images, monkeypatch, target, simulated
):
    """One scale per weight tensor (NNAPI): a simulation with exact weights would choose other ranges."""
    used = []

    def simulation(*arguments, **options):
        used.append(arguments)
        return Simulation(*arguments, **options)

    monkeypatch.setattr(planner, "Simulation", simulation)
    plan = draft_plan(prepared, images, load_target(target), QuantizeConfig()).plan
    assert bool(used) is simulated
    assert any(decision.what == "ranges chosen" for decision in plan.decisions)
