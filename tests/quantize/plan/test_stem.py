"""Which layers are the stem of a network on pictures, and what becomes of them."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeopt.graph.files import as_ir
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.plan.plan import load_plan, save_plan
from edgeopt.quantize.plan.stem import picture_stem
from edgeopt.quantize.stage import draft
from edgeopt.targets.target import load_target
from tests.quantize.conftest import fill, named

MOBILE = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[n, 3, 16, 16] x) => (float[n, 10] y) {
    a = Conv <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x, w1, b1)
    ar = Relu (a)
    d = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 8> (ar, w2, b1)
    dr = Relu (d)
    p = Conv (dr, w3, b3)
    e = Conv (p, w4, b4)
    er = Relu (e)
    g = GlobalAveragePool (er)
    f = Flatten (g)
    y = Gemm <transB = 1> (f, w5, b5)
}
"""
SHAPES = {
    "w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 1, 3, 3), "w3": (4, 8, 1, 1), "b3": (4,),
    "w4": (16, 4, 1, 1), "b4": (16,), "w5": (10, 16), "b5": (10,),
}  # fmt: skip


def mobile(text: str = MOBILE, **shapes) -> onnx.ModelProto:
    return named(fill(onnx.parser.parse_model(text), **{**SHAPES, **shapes}))


@pytest.fixture
def batches():
    generator = np.random.default_rng(1)
    return [{"x": generator.uniform(-1, 1, (1, 3, 16, 16)).astype(np.float32)} for _ in range(8)]


def test_the_stem_ends_with_the_convolution_that_narrows():
    assert picture_stem(as_ir(mobile()).graph) == ("a", "d", "p")


@pytest.mark.parametrize(
    ("what", "text", "shapes"),
    [
        ("no depthwise convolution behind it", MOBILE.replace(", group = 8", ""), {"w2": (8, 8, 3, 3)}),
        ("more channels than colours", MOBILE.replace("[n, 3,", "[n, 5,"), {"w1": (8, 5, 3, 3)}),
        ("somebody else reads it", MOBILE.replace("er = Relu (e)", "t = Tile (ar, reps) er = Relu (e)"), {}),
    ],
)
def test_other_first_layers_are_no_stem(what, text, shapes):
    assert picture_stem(as_ir(mobile(text, **shapes)).graph) == (), what


def test_a_widening_convolution_is_left_to_integers():
    assert picture_stem(as_ir(mobile(w3=(12, 8, 1, 1), b3=(12,), w4=(16, 12, 1, 1))).graph) == ("a", "d")


@pytest.mark.parametrize("floating", [True, False])
def test_the_stem_stays_floating_unless_switched_off(saved, batches, tmp_path, patterned, floating):
    model = saved(mobile())
    config = QuantizeConfig(float_stem=floating)
    made = quantize(model, batches, target=patterned, output=tmp_path / "made.onnx", config=config)
    plan = load_plan(made.plan_path)
    convolutions = {node.name for node in plan.nodes if node.precision == "float" and node.op == "Conv"}
    assert convolutions == ({"a", "d", "p"} if floating else set())
    rounded = {tensor.name for tensor in plan.tensors}
    assert "p" in rounded and ({"x", "ar", "dr"} <= rounded) != floating
    assert any(decision.what == "stem" for decision in made.facts.decisions) == floating
    session = ort.InferenceSession(str(made.path), providers=["CPUExecutionProvider"])
    exact = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    for batch in batches:
        np.testing.assert_allclose(session.run(None, batch)[0], exact.run(None, batch)[0], atol=0.05)


def test_an_edited_plan_may_put_the_stem_on_integers(saved, batches, tmp_path, patterned):
    model = saved(mobile())
    plan = draft(model, batches, target=patterned, config=QuantizeConfig(float_stem=False))
    edited = save_plan(replace(plan, decisions=()), tmp_path / "edited.onnx")
    made = quantize(model, batches, target=patterned, output=tmp_path / "made.onnx", config=QuantizeConfig(plan=edited))
    assert {node.precision for node in load_plan(made.plan_path).nodes} == {"int8"}


def test_targets_without_the_rule_have_no_stem(saved, batches):
    plan = draft(saved(mobile()), batches, target=load_target("arm64"))
    assert {node.precision for node in plan.nodes} == {"int8"}
