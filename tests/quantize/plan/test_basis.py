"""What follows from an exception: placement, 7-bit weights, shared ranges, smoothing; whichever search makes the exception."""

import json
from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeopt.errors import RecipeError
from edgeopt.quantize import QuantizeConfig, draft, quantize
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import Plan, load_plan, save_plan
from edgeopt.quantize.planner import draft_plan
from edgeopt.quantize.prepare import prepare
from edgeopt.quantize.search import latency, range_choice
from edgeopt.targets.target import load_target
from tests.quantize.conftest import conv_net, fill, named, text_net

SATURATING = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 8] x) => (float[n, 4] y) {
    a = Gemm (x, w1, b1)
    ar = Relu (a)
    b = Gemm (ar, w2, b1)
    br = Relu (b)
    y = Gemm (br, w3, b3)
}
"""


def saturating() -> onnx.ModelProto:
    """Three layers whose weights are so even that every pair sum of theirs saturates; the first hurts the outputs most."""
    model = named(onnx.parser.parse_model(SATURATING))
    generator = np.random.default_rng(0)
    for name, shape in {"w1": (8, 8), "w2": (8, 8), "w3": (8, 4)}.items():
        values = generator.uniform(0.9, 1.0, shape)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), name))
    return fill(model, b1=(8,), b3=(4,))


@pytest.fixture
def rows():
    generator = np.random.default_rng(1)
    return [{"x": generator.uniform(0, 1, (4, 8)).astype(np.float32)} for _ in range(4)]


def seven_bits(plan: Plan) -> set[str]:
    return {node.name for node in plan.nodes if node.reduce_range}


def largest_weights(path) -> dict[str, int]:
    """Return the largest absolute integer of each layer's weight."""
    graph = onnx.load(path).graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    found = {}
    for node in graph.node:
        maker = makers.get(node.input[1]) if node.op_type == "Gemm" else None
        if maker is not None and maker.op_type == "DequantizeLinear":
            found[node.name] = int(np.abs(constants[maker.input[0]].astype(int)).max())
    return found


def test_seven_bit_weights_outlive_an_exception_for_the_metric(saved, rows, tmp_path):
    target, path = load_target("x86-avx2"), saved(saturating())
    assert seven_bits(draft(path, rows, target=target)) == {"a", "b", "y"}

    def evaluate(file) -> float:
        layers = largest_weights(file)
        return 1.0 if len(layers) <= 2 else 0.5 if layers else 1.0

    config = QuantizeConfig(max_drop=0.1)
    made = quantize(path, rows, target=target, output=tmp_path / "q.onnx", config=config, evaluate=evaluate)
    plan = load_plan(made.plan_path)
    floating = {node.name for node in plan.nodes if node.cause is Cause.ACCURACY}
    assert len(floating) == 1
    assert seven_bits(plan) == {"a", "b", "y"} - floating
    assert set(largest_weights(made.path)) == {"a", "b", "y"} - floating
    assert max(largest_weights(made.path).values()) <= 64


def test_seven_bit_weights_outlive_the_collapse_guard(saved, rows, tmp_path):
    model = saturating()
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "w1")
    values = onnx.numpy_helper.to_array(weight).copy()
    values[0] *= 1e-6  # one input that is much larger than the others, and hardly counts
    weight.CopyFrom(onnx.numpy_helper.from_array(values, "w1"))
    for batch in rows:
        batch["x"][:, 0] *= 1000
    config = QuantizeConfig(collapse_db=30.0, ranges="min-max")
    made = quantize(saved(model), rows, target=load_target("x86-avx2"), output=tmp_path / "q.onnx", config=config)
    plan = load_plan(made.plan_path)
    assert {node.name for node in plan.nodes if node.cause is Cause.COLLAPSE} == {"a"}
    assert seven_bits(plan) == {"b", "y"} == set(largest_weights(made.path))
    assert max(largest_weights(made.path).values()) <= 64


def test_seven_bit_weights_outlive_a_layer_that_is_faster_in_floating_point(saved, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(
        latency, "_best", lambda _, name: {"a": 1.0, "b": 9.0, "y": 1.0} if name != "float" else {"a": 2.0, "b": 1.0, "y": 2.0}
    )
    monkeypatch.setattr(latency, "compare", lambda *_: (1.5, 0.0))
    config = QuantizeConfig(prefer_faster=True, collapse_db=None)
    made = quantize(saved(saturating()), rows, target=_reachable("x86-avx2"), output=tmp_path / "q.onnx", config=config)
    plan = load_plan(made.plan_path)
    assert {node.name for node in plan.nodes if node.cause is Cause.SLOWER} == {"b"}
    assert seven_bits(plan) == {"a", "y"} == set(largest_weights(made.path))
    assert max(largest_weights(made.path).values()) <= 64


def _reachable(name: str):
    """Return the target without its demands on this machine."""
    target = load_target(name)
    return target.model_copy(update={"device": target.device.model_copy(update={"machine": [], "cpu_flags": []})})


def test_a_node_that_the_user_made_floating_stays_so_whatever_the_metric_wants(saved, rows, tmp_path, vnni):
    path = saved(saturating())
    values = json.loads(draft(path, rows, target=vnni).to_json())
    node = next(node for node in values["nodes"] if node["name"] == "b")
    node |= {"precision": "float", "output": "float"}
    (tmp_path / "edited.json").write_text(json.dumps(values))

    def evaluate(file) -> float:
        return 0.5 if "a" in largest_weights(file) else 1.0

    config = QuantizeConfig(plan=tmp_path / "edited.json", max_drop=0.1)
    made = quantize(path, rows, target=vnni, output=tmp_path / "q.onnx", config=config, evaluate=evaluate)
    causes = {node.name: node.cause for node in load_plan(made.plan_path).nodes if node.op == "Gemm"}
    assert causes["b"] is Cause.EDITED
    assert causes["a"] is Cause.ACCURACY
    assert "b" not in largest_weights(made.path)


def test_a_plan_with_exceptions_and_smoothing_can_be_replayed(saved, tmp_path, vnni):
    """Smoothing adds a Mul to the graph; it belongs to no plan, since the prepared model has no such node."""
    generator = np.random.default_rng(0)
    model = named(onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> net (float[n, 64] x) => (float[n, 64] y) '
        "{ h = LayerNormalization <axis = -1> (x, g, b) m = MatMul (h, w) k = Relu (m) y = MatMul (k, v) }"
    ))  # fmt: skip
    gains = np.where(np.arange(64) % 16 == 0, 60, 1).astype(np.float32)
    weight = (generator.standard_normal((64, 64)) / gains[:, None]).astype(np.float32)
    for name, values in (("g", gains), ("b", np.zeros(64, np.float32)), ("w", weight), ("v", weight)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    path = saved(model)
    batches = [{"x": generator.standard_normal((32, 64)).astype(np.float32)} for _ in range(4)]
    drops = iter([1.0, 0.5, 1.0, 1.0, 1.0])
    config = QuantizeConfig(max_drop=0.1)
    made = quantize(path, batches, target=vnni, output=tmp_path / "a.onnx", config=config, evaluate=lambda _: next(drops))
    plan = load_plan(made.plan_path)
    assert [node.cause for node in plan.nodes].count(Cause.ACCURACY) == 1
    again = quantize(path, batches, target=vnni, output=tmp_path / "b.onnx", config=QuantizeConfig(plan=made.plan_path))
    assert again.path.read_bytes() == made.path.read_bytes()


def test_smoothing_goes_with_the_last_integer_product_that_needs_it(vnni):
    prepared = prepare(ir.from_proto(text_net()), "text")
    batches = [{"ids": np.random.default_rng(2).integers(0, 50, (1, size))} for size in (3, 9, 5, 12)]
    drafted = draft_plan(prepared, batches, vnni, QuantizeConfig())
    read = next(node.inputs[0] for node in prepared.model.graph if node.op_type == "Gemm")
    name, readers = read.name, [node.name for node in read.consumers()]
    from edgeopt.quantize.plan.plan import SmoothPlan

    plan = replace(drafted.plan, smoothing=(SmoothPlan(name, 0.5, (1.0,) * 16),))
    assert drafted.basis.derived(plan, {}).smoothing == plan.smoothing
    assert plan.without(readers, Cause.EXCLUDED, basis=drafted.basis).smoothing == ()


JOINED = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 4, 6, 6] x) => (float[n, 4, 6, 6] y) {
    a = Conv <kernel_shape = [1, 1]> (x, w1)
    b = Conv <kernel_shape = [1, 1]> (x, w2)
    j = Concat <axis = 1> (a, b)
    y = Conv <kernel_shape = [1, 1]> (j, w3)
}
"""


def test_a_united_range_is_taken_apart_when_what_united_it_becomes_floating(monkeypatch):
    monkeypatch.setattr(range_choice, "CLEARLY_DB", 1000.0)  # both are ranged by auto
    model = named(fill(onnx.parser.parse_model(JOINED), w1=(4, 4, 1, 1), w2=(4, 4, 1, 1), w3=(4, 8, 1, 1)))
    target = load_target("nnapi")
    generator = np.random.default_rng(1)
    batches = [{"x": generator.standard_normal((1, 4, 6, 6)).astype(np.float32)} for _ in range(4)]
    drafted = draft_plan(prepare(ir.from_proto(model), "joined"), batches, target, QuantizeConfig())
    apart = draft_plan(prepare(ir.from_proto(model), "joined"), batches, target, QuantizeConfig(exclude=["j"]))

    def ranges(plan: Plan) -> dict[str, tuple[float, float]]:
        return {tensor.name: (tensor.low, tensor.high) for tensor in plan.tensors if tensor.name in {"a", "b", "j"}}

    assert len(set(ranges(drafted.plan).values())) == 1
    excepted = drafted.plan.without(["j"], Cause.EXCLUDED, basis=drafted.basis)
    assert ranges(excepted) == ranges(apart.plan) | {"j": ranges(excepted)["j"]}
    assert len(set(ranges(excepted).values())) > 1


def test_a_saved_plan_without_a_range_that_it_needs_is_refused(saved, images, tmp_path, vnni):
    path = saved(conv_net())
    plan = draft(path, images, target=vnni)
    edited = save_plan(replace(plan, tensors=plan.tensors[1:]), tmp_path / "edited.onnx")
    with pytest.raises(RecipeError, match=f"rounds '{plan.tensors[0].name}' and has no range"):
        quantize(path, images, target=vnni, output=tmp_path / "q.onnx", config=QuantizeConfig(plan=edited))
