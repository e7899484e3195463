"""The function between a tensor and its consumers, against onnxruntime; and the ranges that follow from it."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgeopt.graph.matching import by_name
from edgeopt.quantize.calibrate.histogram import Histogram
from edgeopt.quantize.calibrate.ranges import Grid, choose_range, points_of, response_error
from edgeopt.quantize.calibrate.response import response
from edgeopt.quantize.calibrate.statistics import TensorStatistics

HEAD = '<ir_version: 10, opset_import: ["" : 22]> g (float[n] i) => (float[n] y) <{constants}> {{ x = Identity (i) {body} }}'
CHAINS = {
    "SiLU": "s = Sigmoid (x) y = Mul (x, s)",
    "SiLU, factors swapped": "s = Sigmoid (x) y = Mul (s, x)",
    "HardSwish": "y = HardSwish (x)",
    "HardSwish written out": "a = Add (x, three) c = Clip (a, zero, six) m = Mul (x, c) y = Div (m, six)",
    "HardSigmoid of 1/6": "h = HardSigmoid <alpha: float = 0.1666667> (x) y = Mul (h, x)",
    "GELU": "y = Gelu (x)",
    "GELU by tanh": 'y = Gelu <approximate: string = "tanh"> (x)',
    "GELU written out": "d = Div (x, root) e = Erf (d) a = Add (e, one) m = Mul (x, a) y = Mul (m, half)",
    "Mish": "p = Softplus (x) t = Tanh (p) y = Mul (x, t)",
    "ELU": "y = Elu <alpha: float = 0.7> (x)",
    "leaky, then squashed": "l = LeakyRelu <alpha: float = 0.3> (x) y = Softsign (l)",
    "PReLU": "y = PRelu (x, half)",
    "sigmoid": "y = Sigmoid (x)",
    "tanh": "y = Tanh (x)",
    "power": "a = Relu (x) y = Pow (a, three)",
}
NUMBERS = {"zero": 0, "one": 1, "three": 3, "six": 6, "half": 0.5, "root": 1.4142135}
CONSTANTS = ", ".join(f"float[1] {name} = {{{number}}}" for name, number in NUMBERS.items())


def parsed(body: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(HEAD.format(body=body, constants=CONSTANTS))


def of_x(model: onnx.ModelProto):
    return response(by_name(ir.from_proto(model).graph)["x"])


@pytest.mark.parametrize("body", CHAINS.values(), ids=CHAINS)
def test_the_function_is_onnxruntimes(body):
    model = parsed(body)
    function = of_x(model)
    assert function is not None
    x = np.linspace(-12, 12, 4801, dtype=np.float32)
    expected = ort.InferenceSession(model.SerializeToString()).run(None, {"i": x})[0]
    got = function(x.astype(np.float64))
    assert np.abs(got - expected).max() <= 2e-5 * max(1.0, np.abs(expected).max()), np.abs(got - expected).max()


@pytest.mark.parametrize(
    "body",
    [
        "s = Sigmoid (x) m = Mul (x, s) q = Softmax (x) y = Add (m, q)",
        "y = Mul (x, i)",
        "y = Add (x, one)",
        "y = Softmax (x)",
    ],
    ids=["something else reads x", "another tensor takes part", "only a shift", "no elementwise operator"],
)
def test_no_function_where_x_is_seen_otherwise(body):
    assert of_x(parsed(body)) is None


def test_the_function_ends_where_other_values_join():
    function = of_x(parsed("s = Sigmoid (x) m = Mul (x, s) y = Add (m, i)"))
    assert function is not None
    x = np.array([-3.0, 0.0, 2.0])
    np.testing.assert_allclose(function(x), x / (1 + np.exp(-x)))


def statistics_of(values: np.ndarray) -> TensorStatistics:
    statistics = TensorStatistics(histogram=Histogram())
    statistics.add(values)
    return statistics


def silu(x):
    return x / (1 + np.exp(-np.clip(x, -700, 700)))


def after_silu(values: np.ndarray, interval: tuple[float, float], steps: int) -> float:
    low, high = interval
    step = (high - low) / steps
    zero = round(-low / step)
    rounded = (np.clip(np.round(values / step) + zero, 0, steps) - zero) * step
    return float(np.sum((silu(values) - silu(rounded)) ** 2))


@pytest.mark.parametrize(("spread", "shift"), [(30.0, 0.0), (8.0, -6.0), (2.0, 0.0)])
def test_the_range_loses_least_behind_the_function(spread, shift):
    values = (np.random.default_rng(0).standard_normal(200_000) * spread + shift).astype(np.float32)
    statistics, grid = statistics_of(values), Grid(8)
    found = choose_range(statistics, "mse", grid, response=silu)
    plain = choose_range(statistics, "mse", grid)
    exact = values.astype(np.float64)
    lows, highs = -np.array([0.3, 1, 2, 3, 4, 5, 6, 8, 12, 30]), values.max() * np.linspace(0.3, 1.0, 29)
    least = min(after_silu(exact, (low, high), 255) for low in lows for high in highs)
    assert after_silu(exact, found, 255) <= 1.05 * least
    assert after_silu(exact, found, 255) < after_silu(exact, plain, 255)


def test_the_expected_error_is_the_real_one():
    values = (np.random.default_rng(1).standard_normal(100_000) * 5).astype(np.float32)
    statistics, grid, interval = statistics_of(values), Grid(8), (-4.0, 15.0)
    masses = statistics.histogram.masses()
    expected = response_error(points_of(masses, silu), interval, grid, silu)
    assert expected == pytest.approx(after_silu(values.astype(np.float64), interval, 255), rel=0.02)
