"""Answers that stay the same are counted, where outputs are classes."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeopt.quantize import quantize
from edgeopt.quantize.inspect.agreement import agreement
from edgeopt.quantize.inspect.exact import ExactOutputs
from edgeopt.quantize.result import Agreement, LayerNoise
from edgeopt.quantize.write import far_outputs

HEAD = '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 3] x) => (float{shape} y)'


def model(body: str, shape: str = "[n, 3]") -> ir.Model:
    return ir.from_proto(onnx.parser.parse_model(f"{HEAD.format(shape=shape)} {body}"))


@pytest.mark.parametrize(("shift", "same"), [([0.0, 0.0, 0.0], 4), ([0.0, 0.0, 1.5], 3), ([0.0, 0.0, 9.0], 1)])
def test_answers_that_change_do_not_count(shift, same):
    x = np.array([[3, 0, 0], [0, 5, 0], [0, 0, 1], [2, 0, 1]], np.float32)
    numbers = ", ".join(map(str, shift))
    other = model(f"<float[3] s = {{{numbers}}}> {{ y = Add (x, s) }}")
    exact = ExactOutputs(model("{ y = Identity (x) }"), [{"x": x[:1]}, {"x": x[1:]}])
    assert agreement(exact, other) == Agreement(same, 4)


@pytest.mark.parametrize(("axis", "counted"), [(1, Agreement(6, 6)), (-1, Agreement(3, 4))])
def test_a_softmax_says_where_the_classes_are(axis, counted):
    """Two samples of two channels and three places; the first place of each channel loses 4."""
    ends = f"z = Reshape (moved, form) y = Softmax <axis = {axis}> (z) }}"
    exact, other = (
        model(f"<int64[3] form = {{-1, 2, 3}}, float[3] s = {{{first}, 0, 0}}> {{ moved = Add (x, s) {ends}", "[m, 2, 3]")
        for first in (0, -4)
    )
    x = np.array([[3, 0, 1], [0, 2, 0], [5, 0, 0], [0, 1, 0]], np.float32)
    assert agreement(ExactOutputs(exact, [{"x": x}]), other) == counted


def test_an_argmax_says_where_the_classes_are():
    """Two samples of two channels and three places, as a segmentation has them; the second channel's first place gains 4."""
    exact, other = (
        model(
            f"<int64[3] form = {{-1, 2, 3}}, float[2, 3] s = {{0, 0, 0, {first}, 0, 0}}> "
            "{ z = Reshape (x, form) y = Add (z, s) label = ArgMax <axis = 1> (y) }",
            "[m, 2, 3]",
        )
        for first in (0, 4)
    )
    x = np.array([[3, 0, 1], [0, 2, 0], [5, 0, 0], [0, 1, 0]], np.float32)
    assert agreement(ExactOutputs(exact, [{"x": x}]), other) == Agreement(5, 6)


@pytest.mark.parametrize("shape", ["[n]", "[n, 3, 1]"])
def test_outputs_that_are_no_classes_have_no_answers(shape):
    body = "{ y = ReduceSum <keepdims = 0> (x, a) }" if shape == "[n]" else "{ y = Unsqueeze (x, a) }"
    axis = "1" if shape == "[n]" else "2"
    one = model(f"<int64[1] a = {{{axis}}}> {body}", shape)
    assert agreement(ExactOutputs(one, [{"x": np.ones((2, 3), np.float32)}]), one) is None


def test_facts_hold_the_answers_and_the_worst_output(saved, tmp_path, vnni):
    text = "<float[3, 3] w = {1, 0, 0, 0, 1, 0, 0, 0, 1}> { y = MatMul (x, w) }"
    batches = [{"x": np.array([[1.0, -1.0, 0.5]], np.float32)} for _ in range(7)]
    facts = quantize(saved(ir.to_proto(model(text))), batches, target=vnni, output=tmp_path / "q.onnx").facts
    assert facts.agreement == Agreement(7, 7)
    assert facts.outputs_db is not None
    assert facts.outputs_db > 30


def test_far_outputs_are_warned_of_with_what_to_try():
    noise = (LayerNoise("conv", "Conv", 3.0), LayerNoise("near", "output", 12.5), LayerNoise("far", "output", 7.26))
    (warning,) = far_outputs(noise, "static")
    assert warning.startswith("output 'far' is far from floating point's: SQNR 7.3 dB")
    assert "--max-drop" in warning
    (warning,) = far_outputs(noise, "weights-int4")
    assert warning.endswith("try --scheme weights-int8, or --exclude the layers before it")
