"""The arithmetic of quantization against plain loops over exact fractions, and against onnxruntime's operators."""

from fractions import Fraction

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgeopt.quantize.affine import Affine, Grid, bits_of, limits, nearest, restored

TYPES = {
    "int4": (-8, 7), "uint4": (0, 15), "int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "uint16": (0, 65535),
}  # fmt: skip
KINDS = [np.float32, np.float16]
GENERATOR = np.random.default_rng(7)


def half_even(value: Fraction) -> int:
    """Round to the nearest integer, ties to the even one."""
    floor = value.numerator // value.denominator
    rest = value - floor
    return floor + (rest > Fraction(1, 2) or (rest == Fraction(1, 2) and floor % 2 == 1))


def plain_quantize(value: float, scale: float, zero: int, span: tuple[int, int]) -> int:
    return min(max(half_even(Fraction(value) / Fraction(scale)) + zero, span[0]), span[1])


def values_of(kind, *shape) -> np.ndarray:
    return (GENERATOR.standard_normal(shape) * GENERATOR.uniform(0.01, 30)).astype(kind)


@pytest.mark.parametrize("dtype", TYPES)
def test_limits_are_those_of_the_type_less_what_symmetry_and_a_bit_take(dtype):
    low, high = TYPES[dtype]
    assert limits(dtype) == (low, high)
    assert bits_of(dtype) == (high - low + 1).bit_length() - 1
    assert limits(dtype, symmetric=True) == ((-high, high) if dtype in {"int8", "int16"} else (low, high))
    least, most = limits(dtype, reduced=True)
    assert low <= least <= 0 < most <= high and most - least <= (high - low + 1) // 2


def test_pair_sums_of_seven_bit_weights_never_saturate():
    low, high = limits("int8", reduced=True)
    assert 2 * 255 * max(-low, high) <= 32767 < 2 * 255 * (max(-low, high) + 1)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("symmetric", "reduced"), [(False, False), (True, False), (False, True), (True, True)])
def test_parameters_of_a_range_against_exact_fractions(dtype, kind, symmetric, reduced):
    least, most = limits(dtype, symmetric=symmetric, reduced=reduced)
    tolerance = {"rel": 2.0**-10, "abs": 2.0**-25} if kind == np.float16 else {"rel": 2.0**-23}
    for _ in range(30):
        low, high = np.sort(values_of(kind, 2))
        found = Affine.of_range(low, high, dtype, symmetric=symmetric, reduced=reduced, kind=kind)
        a, b = min(Fraction(float(low)), 0), max(Fraction(float(high)), 0)
        if symmetric:
            a, b = -max(-a, b), max(-a, b)
        scale = (b - a) / (most - least)
        zero = half_even(Fraction(least + most, 2)) if symmetric else half_even(least - a / scale)
        assert float(found.scale) == pytest.approx(float(scale), **tolerance)
        assert found.scale.dtype == kind
        assert abs(int(found.zero) - zero) <= (a.denominator > 1 << 60), f"{found.zero} for {float(a)} … {float(b)}"
        assert found.dequantize(found.zero.reshape(1))[0] == 0, "zero is exact"


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_quantize_and_dequantize_against_plain_loops(dtype, kind):
    values = values_of(kind, 200)
    found = Affine.of_range(0.6 * values.min(), 0.6 * values.max(), dtype, symmetric=False, kind=kind)
    numbers = found.quantize(values)
    scale, zero = float(found.scale), int(found.zero)
    wanted = [plain_quantize(float(value), scale, zero, TYPES[dtype]) for value in values]
    off = np.abs(numbers.astype(int) - wanted)
    assert off.max() <= 1 and (off > 0).mean() < 0.02, f"{off.max()} numbers off, {(off > 0).mean():.1%} of them"
    exact = [Fraction(scale) * (number - zero) for number in numbers.astype(int).tolist()]
    np.testing.assert_array_equal(found.dequantize(numbers), np.array([float(value) for value in exact]).astype(kind))
    back = found.fake_quantize(values.astype(np.float32))
    np.testing.assert_allclose(back, found.dequantize(numbers).astype(np.float32), rtol=2e-3, atol=scale * 1e-3)


def test_ties_go_to_the_even_number_and_the_rest_saturates():
    found = Affine(np.float32(0.5)[...], np.int8(0)[...], "int8")
    values = np.array([0.25, 0.75, 1.25, -0.25, -0.75, 1e9, -1e9, np.inf], dtype=np.float32)
    assert found.quantize(values).tolist() == [0, 2, 2, 0, -2, 127, -128, 127]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", [None, 1])
def test_onnxruntime_computes_the_same(dtype, kind, axis):
    code = {"int4": TensorProto.INT4, "uint4": TensorProto.UINT4}.get(dtype) or helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    values = values_of(kind, 6, 5, 4)
    found = Affine.of_values(values * kind(0.7), dtype, axis=axis, symmetric=axis is not None)
    shape = [] if axis is None else [5]
    attributes = {} if axis is None else {"axis": axis}
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **attributes),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **attributes),
            helper.make_node("Cast", ["q"], ["numbers"], to=TensorProto.INT32),
        ],
        "pair",
        [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(np.dtype(kind)), [6, 5, 4])],
        [
            helper.make_tensor_value_info("numbers", TensorProto.INT32, None),
            helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(np.dtype(kind)), None),
        ],
        [
            onnx.numpy_helper.from_array(found.scale, "s"),
            helper.make_tensor("z", code, shape, found.zero.reshape(-1).astype(int).tolist()),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    numbers, back = session.run(None, {"x": values})
    mine = found.quantize(values)
    off = np.abs(numbers - mine.astype(np.int32))
    assert off.max() == 0, f"{(off > 0).sum()} of {off.size} numbers differ, by {off.max()} at most"
    np.testing.assert_array_equal(found.dequantize(mine), back)


def test_a_scale_for_each_channel_is_that_of_the_channel_alone():
    values = values_of(np.float32, 3, 4, 5)
    values[:, 2] = 0
    together = Affine.of_values(values, "int8", axis=1, symmetric=True)
    assert together.axis == 1 and together.scale.shape == together.zero.shape == (4,)
    numbers = together.quantize(values)
    for channel in range(4):
        alone = Affine.of_values(values[:, channel], "int8", axis=None, symmetric=True)
        assert alone.scale == together.scale[channel] and alone.zero == together.zero[channel]
        np.testing.assert_array_equal(alone.quantize(values[:, channel]), numbers[:, channel])
    assert (numbers[:, 2] == 0).all() and together.scale[2] == 1
    assert Affine.of_values(values, "int8", axis=-2, symmetric=True).axis == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_range_of_nothing_has_a_scale_of_one(kind):
    for low, high in ((0.0, 0.0), (0.0, 1e-45 if kind == np.float32 else 1e-12)):
        found = Affine.of_range(low, high, "uint8", symmetric=False, kind=kind)
        assert (float(found.scale), int(found.zero)) == (1.0, 0)


def test_a_bias_lies_on_the_grid_of_the_sums():
    given = Affine.of_range(-1.0, 3.0, "uint8", symmetric=False)
    weight = Affine.of_values(values_of(np.float32, 4, 6), "int8", axis=0, symmetric=True)
    bias = values_of(np.float32, 4)
    found = Affine.of_bias(given, weight)
    assert (found.dtype, found.axis) == ("int32", 0)
    for number, value, scale in zip(found.quantize(bias), bias, weight.scale, strict=True):
        assert number == half_even(Fraction(float(value)) / Fraction(float(np.float32(given.scale * scale))))


def test_weights_make_room_for_a_bias_that_would_not_fit_32_bits():
    given = Affine.of_range(0.0, 1e-3, "uint8", symmetric=False)
    weight = Affine.of_values(np.full((3, 4), 1e-3, np.float32), "int8", axis=0, symmetric=True)
    bias = np.array([1.0, 1e-6, 3000.0], dtype=np.float32)
    roomy = weight.with_room_for(bias, given)
    assert roomy.scale[1] == weight.scale[1] and roomy.scale[2] > 2 * weight.scale[2]
    numbers = Affine.of_bias(given, roomy).quantize(bias)
    assert np.abs(numbers.astype(np.int64)).max() < 2**31 - 1
    np.testing.assert_allclose(Affine.of_bias(given, roomy).dequantize(numbers), bias, rtol=1e-4)


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e6, 1e6, width=32), st.floats(-1e6, 1e6, width=32), st.floats(-1e6, 1e6, width=32))
def test_what_lies_in_the_range_comes_back_within_half_a_step(low, high, value):
    low, high = min(low, high, 0.0), max(low, high, 0.0)
    value = min(max(value, low), high)
    found = Affine.of_range(low, high, "uint8", symmetric=False)
    back = float(found.dequantize(found.quantize(np.float32([value])))[0])
    assert abs(back - value) <= float(found.scale) * 1.01, f"{value} came back as {back}, a step is {found.scale}"


@pytest.mark.parametrize(
    ("grid", "steps"), [(Grid(8), 255), (Grid(8, symmetric=True), 254), (Grid(16), 65535), (Grid(4, symmetric=True), 14)]
)
def test_a_grid_has_as_many_steps_as_its_numbers_allow(grid, steps):
    assert grid.steps == steps
    assert grid.widen((1.0, 2.0)) == ((-2.0, 2.0) if grid.symmetric else (0.0, 2.0))


def test_a_reduced_grid_has_the_steps_of_its_limits():
    low, high = limits("int8", reduced=True)
    assert Grid.of("int8", symmetric=True, reduced=True).steps == high - low


def test_rounding_and_back_are_each_others_inverse_on_the_grid():
    numbers = np.arange(-8, 8, dtype=np.float64)
    np.testing.assert_array_equal(nearest(restored(numbers, 0.25, 3), 0.25, 3, (-8, 7)), numbers)


def test_limits_of_sums_and_of_reduced_16_bits():
    assert limits("int32") == (-(2**31), 2**31 - 1)
    assert limits("int16", reduced=True) == (-16384, 16384)


def test_a_widened_interval_holds_zero_and_no_more():
    assert Grid(8).widen((-3.0, -1.0)) == (-3.0, 0.0)
    assert Grid(8).widen((0.2, 0.5)) == (0.0, 0.5)
    assert Grid(8, symmetric=True).widen((0.2, 0.5)) == (-0.5, 0.5)


def test_activations_are_rounded_to_8_or_16_bits():
    values = np.linspace(0, 1, 5000, dtype=np.float32)
    eight, sixteen = (Grid(bits).fake_quantize(values, (0.0, 1.0)) for bits in (8, 16))
    assert len(np.unique(eight)) == 256 and np.abs(sixteen - values).max() < 1 / 65535
    with pytest.raises(ValueError, match="8 or 16 bits, not 9"):
        Grid(9).fake_quantize(values, (0.0, 1.0))


def test_the_smallest_normal_number_is_a_scale():
    tiny = np.finfo(np.float32).tiny
    assert Affine.of_range(0.0, np.float32(255) * tiny, "uint8", symmetric=False).scale == tiny


def test_biases_keep_all_32_bits():
    one = Affine(np.asarray(1.0, np.float32), np.asarray(0, np.int32), "int32")
    assert one.quantize(np.array([2.0**30 + 1]))[0] == 2**30 + 1
