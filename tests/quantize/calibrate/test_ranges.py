"""Each method against a plain float64 reference that keeps every value."""

import numpy as np
import pytest

from edgeopt.quantize.calibrate.histogram import Histogram
from edgeopt.quantize.calibrate.ranges import METHODS, Grid, choose_range, squared_error
from edgeopt.quantize.calibrate.statistics import MovingAverage, TensorStatistics

GENERATOR = np.random.default_rng(5)
SHAPES = {
    "normal": GENERATOR.standard_normal(100_000),
    "heavy tails": GENERATOR.standard_t(3, 100_000),
    "rectified": np.maximum(GENERATOR.standard_normal(100_000), 0),
    "one outlier": np.append(GENERATOR.standard_normal(100_000), 80.0),
    "shifted": GENERATOR.standard_normal(100_000) + 6,
}
GRIDS = [Grid(8), Grid(8, symmetric=True), Grid(16), Grid(16, symmetric=True)]


def statistics_of(values: np.ndarray) -> TensorStatistics:
    statistics = TensorStatistics(histogram=Histogram())
    statistics.add(values.astype(np.float32))
    return statistics


def plain_error(values: np.ndarray, interval: tuple[float, float], grid: Grid) -> float:
    low, high = interval
    step = (high - low) / grid.steps
    rounded = np.clip(np.round(values / step), np.round(low / step), np.round(high / step)) * step
    return float(np.square(values - rounded).sum())


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", METHODS)
def test_ranges_hold_zero_lie_within_the_extremes_and_suit_the_grid(method, shape, grid):
    values = SHAPES[shape].astype(np.float32)
    low, high = choose_range(statistics_of(values), method, grid)
    full_low, full_high = grid.widen((float(values.min()), float(values.max())))
    assert full_low - 1e-9 <= low <= 0 <= high <= full_high + 1e-9
    if grid.symmetric:
        assert low == pytest.approx(-high, rel=1e-9)


@pytest.mark.parametrize("percent", [99.0, 99.9, 99.99])
@pytest.mark.parametrize("shape", SHAPES)
def test_percentile_is_within_a_bin_of_the_exact_quantiles(shape, percent):
    values = SHAPES[shape]
    low, high = choose_range(statistics_of(values), "percentile", Grid(8), percentile=percent)
    tail = (100 - percent) / 2
    for got, rank in ((low, tail), (high, 100 - tail)):  # between the neighbours in rank, give or take a bin
        below, above = (float(np.percentile(values, rank, method=side)) for side in ("lower", "higher"))
        slack = max(abs(below), abs(above)) / 64 + 1e-3
        assert min(below, 0) - slack <= got <= max(above, 0) + slack


@pytest.mark.parametrize("fraction", [1.0, 0.7, 0.4])
@pytest.mark.parametrize("shape", SHAPES)
def test_squared_error_of_the_histogram_is_that_of_the_values(shape, fraction):
    values = SHAPES[shape].astype(np.float32).astype(np.float64)
    grid = Grid(8)
    low, high = grid.widen((values.min() * fraction, values.max() * fraction))
    step = (high - low) / grid.steps
    low, high = np.round(low / step) * step, np.round(low / step) * step + grid.steps * step  # zero on the grid
    got = squared_error(statistics_of(values).histogram.masses(), (low, high), grid)
    assert got == pytest.approx(plain_error(values, (low, high), grid), rel=0.05)


@pytest.mark.parametrize("grid", [Grid(8), Grid(8, symmetric=True)], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_mse_is_as_good_as_an_exhaustive_search_over_the_values(shape, grid):
    values = SHAPES[shape].astype(np.float64)
    found = plain_error(values, choose_range(statistics_of(values), "mse", grid), grid)
    full = grid.widen((values.min(), values.max()))
    lows = [full[0]] if grid.symmetric else np.linspace(0.05, 1, 24) * full[0]
    best = min(
        plain_error(values, grid.widen((low if not grid.symmetric else -high, high)), grid)
        for low in lows
        for high in np.linspace(0.05, 1, 24) * full[1]
    )
    assert found <= best * 1.08, f"found {found:.5g}, the best of the search {best:.5g}"


def test_entropy_drops_an_outlier_and_keeps_a_full_range():
    low, high = choose_range(statistics_of(SHAPES["one outlier"]), "entropy", Grid(8))
    assert high < 10
    assert low < -3
    uniform = GENERATOR.uniform(-1, 1, 100_000)
    low, high = choose_range(statistics_of(uniform), "entropy", Grid(8))
    assert low == pytest.approx(-1, abs=0.05)
    assert high == pytest.approx(1, abs=0.05)


def test_moving_average_is_less_moved_by_one_wild_batch():
    statistics = TensorStatistics()
    for size in [1.0] * 9 + [100.0] + [1.0] * 10:
        statistics.add(np.array([-size, size], dtype=np.float32))
    low, high = choose_range(statistics, "moving-average", Grid(8))
    assert 1 < high < 10
    assert choose_range(statistics, "min-max", Grid(8)) == (-100.0, 100.0)
    assert low == pytest.approx(-high)


def test_nothing_seen_is_an_error():
    with pytest.raises(ValueError, match="no values"):
        choose_range(TensorStatistics(), "min-max", Grid(8))


@pytest.mark.parametrize("grid", [Grid(16), Grid(16, symmetric=True)], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_sixteen_bits_are_as_good_as_an_exhaustive_search_over_the_values(shape, grid):
    values = SHAPES[shape].astype(np.float64)
    full = grid.widen((values.min(), values.max()))
    best = min(plain_error(values, grid.widen((full[0] * share, full[1] * share)), grid) for share in np.linspace(0.3, 1, 36))
    for method in ("mse", "entropy"):
        found = plain_error(values, choose_range(statistics_of(values), method, grid), grid)
        assert found <= best * 1.1, f"{method}: found {found:.5g}, the best of the search {best:.5g}"


def test_values_of_which_nearly_all_are_zero_keep_their_full_range():
    values = np.zeros(100_000)
    values[:5] = -0.25, 0.1, 0.2, 0.3, 0.75
    assert choose_range(statistics_of(values), "percentile", Grid(8), percentile=99.9) == (-0.25, 0.75)
    statistics = TensorStatistics(moving=MovingAverage(momentum=0.0))
    for batch in ([0.5, -1.0], [0.0, 0.0]):
        statistics.add(np.array(batch, np.float32))
    assert choose_range(statistics, "moving-average", Grid(8)) == (-1.0, 0.5)
