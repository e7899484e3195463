"""Where pairs stand for providers that compile whole graphs: which Adds read a residual branch as 8 bits."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeopt.quantize import QuantizeConfig, draft, quantize
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.placement import place
from edgeopt.quantize.plan.plan import NodePlan, load_plan
from edgeopt.quantize.prepare import prepare
from edgeopt.targets.target import load_target
from tests.quantize.conftest import fill, named, text_net

PRODUCTS = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 6, 8] x) => (float[n, 6, 8] y) {
    h = LayerNormalization <axis = -1> (x, s, b)
    m = MatMul (h, w1)
    a = Add (m, x)
    y = LayerNormalization <axis = -1> (a, s, b)
}
"""
CONVOLUTIONS = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 4, 8, 8] x) => (float[n, 4, 8, 8] y) {
    c = Conv (x, w1)
    r = Relu (c)
    d = Conv (r, w2)
    y = Add (d, r)
}
"""


def images() -> list[dict[str, np.ndarray]]:
    return [{"x": np.random.default_rng(seed).standard_normal((2, 4, 8, 8)).astype(np.float32)} for seed in range(4)]


@pytest.mark.parametrize("target", ["tensorrt", "cuda"])
def test_the_residual_stream_of_matrix_products_stays_floating(target, saved):
    model = named(fill(onnx.parser.parse_model(PRODUCTS), s=(8,), b=(8,), w1=(8, 8)))
    batches = [{"x": np.random.default_rng(seed).standard_normal((2, 6, 8)).astype(np.float32)} for seed in range(4)]
    nodes = {node.name: node for node in draft(saved(model), batches, target=load_target(target)).nodes}
    assert (nodes["a"].precision, nodes["a"].cause) == ("float", Cause.NO_RESIDUAL)
    assert nodes["m"].precision == "int8"


def test_behind_a_convolution_the_other_branch_is_read_as_eight_bits(saved):
    model = named(fill(onnx.parser.parse_model(CONVOLUTIONS), w1=(4, 4, 1, 1), w2=(4, 4, 1, 1)))
    nodes = {node.name: node for node in draft(saved(model), images(), target=load_target("tensorrt")).nodes}
    assert (nodes["y"].cause, nodes["y"].reads) == (Cause.RESIDUAL, ("r",))


def test_a_residual_add_is_a_candidate_of_the_guard(saved, tmp_path):
    """The branch holds one huge value, so that 8 bits leave nothing of the others: no layer with weights is at fault."""
    text = CONVOLUTIONS.replace("r = Relu (c)", "k = Mul (c, big) r = Relu (k)").replace("d = Conv (r, w2)", "d = Conv (c, w2)")
    model = named(fill(onnx.parser.parse_model(text), w1=(4, 4, 1, 1), w2=(4, 4, 1, 1)))
    big = np.ones((1, 1, 8, 8), dtype=np.float32)
    big[..., 0, 0] = 1e5
    model.graph.initializer.append(onnx.numpy_helper.from_array(big, "big"))
    model.graph.output[0].name, model.graph.node[-1].output[0] = "y", "s"
    model.graph.node.append(onnx.helper.make_node("Slice", ["s", "one", "far", "axes"], ["y"], "last"))
    for name, values in {"one": [1, 1], "far": [8, 8], "axes": [2, 3]}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(values), name))
    made = quantize(
        saved(model),
        images(),
        target=load_target("tensorrt"),
        output=tmp_path / "q.onnx",
        config=QuantizeConfig(collapse_db=20.0),
    )
    causes = {node.name: node.cause for node in load_plan(made.plan_path).nodes}
    assert {name for name, cause in causes.items() if cause is Cause.COLLAPSE} == {"y"}
    assert not made.facts.warnings or "collapse" not in " ".join(made.facts.warnings)


def test_an_encoder_on_tensorrt_keeps_its_answers(saved, tmp_path):
    batches = [{"ids": np.random.default_rng(2).integers(0, 50, (1, size))} for size in (3, 9, 5, 12)]
    made = quantize(saved(text_net()), batches, target=load_target("tensorrt"), output=tmp_path / "q.onnx")
    assert all(node.precision == "float" for node in load_plan(made.plan_path).nodes if node.op in {"Add", "Sum"})
    assert next(layer.sqnr_db for layer in made.facts.layers if layer.op == "output") > 30


RESIDUAL = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 4, 8] x) => (float[n, 4, 8] y) {
    m = MatMul (x, w)
    s = Add (m, x)
    h = LayerNormalization <axis = -1> (s, scale)
    p = MatMul (h, w)
    y = Add (p, s)
}
"""


def placed(text: str, target: str) -> dict[str, NodePlan]:
    model = named(fill(onnx.parser.parse_model(text), w=(8, 8), scale=(8,)))
    prepared = prepare(ir.from_proto(model), "net", rewrite=False).model
    return {node.name: node for node in place(prepared, {}, load_target(target).quantization.rules)}


def test_what_only_floating_consumers_read_is_not_rounded_where_the_device_does_not_take_these() -> None:
    plans = placed(RESIDUAL, "nnapi")
    assert {name: plan.precision for name, plan in plans.items()} == {
        "m": "int8",
        "s": "int8",  # the last Add reads it, too, and gives the graph's output
        "h": "float",
        "p": "int8",
        "y": "int8",
    }
    alone = placed(RESIDUAL.replace("y = Add (p, s)", "y = Add (p, x)"), "nnapi")
    assert (alone["s"].precision, alone["s"].cause) == ("float", Cause.READ_BY_FLOATS)
    assert alone["m"].precision == "int8"
    assert {plan.precision for plan in placed(RESIDUAL, "qnn-htp-emulated").values()} == {"int8"}
