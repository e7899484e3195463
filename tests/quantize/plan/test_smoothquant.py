import numpy as np
import pytest

from edgeopt.quantize.affine import Grid
from edgeopt.quantize.plan.smoothquant import choose_product, round_columns, smoothing_factors

GENERATOR = np.random.default_rng(21)
GRIDS = (Grid(8), Grid(8, symmetric=True))


def product_error(rows, weight, interval, factors):
    scaled = rows.astype(np.float64) / factors
    step = (interval[1] - interval[0]) / 255
    zero = np.round(interval[0] / step)
    rounded = np.clip(np.round(scaled / step), zero, zero + 255) * step
    inner = weight.astype(np.float64) * factors[:, None]
    scale = np.abs(inner).max(axis=0) / 127
    exact = rows.astype(np.float64) @ weight
    return np.square(rounded @ (np.round(inner / scale) * scale) - exact).sum() / np.square(exact).sum()


def extremes(rows):
    return rows.min(axis=0), rows.max(axis=0)


def test_outlier_channels_are_smoothed_and_it_pays():
    rows = GENERATOR.standard_normal((200, 64)).astype(np.float32)
    rows[:, 5] *= 60
    weight = GENERATOR.standard_normal((64, 48)).astype(np.float32) / 8
    plain = choose_product(rows, extremes(rows), weight, grids=GRIDS, smooth=False)
    chosen = choose_product(rows, extremes(rows), weight, grids=GRIDS, smooth=True)
    assert chosen.factors
    assert chosen.factors[5] == max(chosen.factors)
    assert chosen.error < plain.error / 4
    assert chosen.error == pytest.approx(product_error(rows, weight, chosen.interval, np.array(chosen.factors)), rel=1e-2)
    assert plain.error == pytest.approx(product_error(rows, weight, plain.interval, np.ones(64)), rel=1e-2)


def test_equal_channels_are_left_alone():
    rows = GENERATOR.standard_normal((200, 64)).astype(np.float32)
    weight = GENERATOR.standard_normal((64, 48)).astype(np.float32)
    assert choose_product(rows, extremes(rows), weight, grids=GRIDS, smooth=True).factors == ()


def test_a_rare_outlier_is_clipped_when_that_costs_less():
    rows = GENERATOR.standard_normal((256, 32)).astype(np.float32)
    weight = GENERATOR.standard_normal((32, 32)).astype(np.float32)
    low, high = extremes(rows)
    chosen = choose_product(rows, (low * 3, high * 3), weight, grids=GRIDS, smooth=False)
    assert chosen.interval[1] < 3 * high.max() * 0.5


def test_factors_are_the_papers_formula_up_to_their_mean():
    largest, weights = GENERATOR.uniform(0.5, 20, 32), GENERATOR.uniform(0.1, 2, 32)
    factors = smoothing_factors(largest, weights, 0.5)
    expected = np.sqrt(largest / weights)
    np.testing.assert_allclose(factors, expected / np.exp(np.log(expected).mean()), rtol=1e-12)
    assert (smoothing_factors(np.zeros(4), np.ones(4), 0.5) == 1).all()


def test_rounding_kernels_against_plain_loops():
    values = GENERATOR.standard_normal((5, 7)).astype(np.float32) * 3
    got = Grid(8).fake_quantize(values, (-2.0, 3.1))
    step = 5.1 / 255
    for value, rounded in zip(values.ravel(), got.ravel(), strict=True):
        level = min(max(round(value / step), round(-2.0 / step)), round(-2.0 / step) + 255)
        assert rounded == pytest.approx(level * step, abs=2e-6)
    weight = GENERATOR.standard_normal((6, 4)).astype(np.float32)
    weight[:, 2] = 0
    rounded = round_columns(weight, Grid(8, symmetric=True))
    assert np.abs(rounded - weight).max() <= np.abs(weight).max() / 127 / 2 + 1e-6
    assert (rounded[:, 2] == 0).all()
