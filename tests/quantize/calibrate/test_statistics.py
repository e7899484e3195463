import numpy as np
import pytest

from edgeopt.quantize.calibrate.histogram import Histogram
from edgeopt.quantize.calibrate.statistics import Channels, MovingAverage, TensorStatistics

GENERATOR = np.random.default_rng(4)
BATCHES = [(GENERATOR.standard_normal((size, 6)) * size).astype(np.float32) for size in (3, 1, 7, 2, 5)]


def observed(batches: list[np.ndarray]) -> TensorStatistics:
    statistics = TensorStatistics(histogram=Histogram(), channels=Channels(-1))
    for batch in batches:
        statistics.add(batch)
    return statistics


def test_extremes_and_channels_equal_those_of_everything_kept():
    everything = np.concatenate(BATCHES)
    statistics = observed(BATCHES)
    assert (statistics.minimum, statistics.maximum) == (everything.min(), everything.max())
    assert statistics.count == everything.size
    np.testing.assert_array_equal(statistics.channels.low, everything.min(axis=0))
    np.testing.assert_array_equal(statistics.channels.high, everything.max(axis=0))
    np.testing.assert_array_equal(statistics.channels.largest, np.abs(everything).max(axis=0))
    np.testing.assert_allclose(statistics.channels.mean, everything.astype(np.float64).mean(axis=0), rtol=1e-12)


def test_moving_average_equals_the_debiased_recursion():
    average, low, weight = MovingAverage(momentum=0.8), 0.0, 0.0
    for batch in BATCHES:
        average.add(float(batch.min()), float(batch.max()))
        low = 0.8 * low + 0.2 * float(batch.min())
        weight = 0.8 * weight + 0.2
    assert average.range[0] == pytest.approx(low / weight, rel=1e-12)


@pytest.mark.parametrize("cut", [0, 1, 3, 5])
def test_merging_two_parts_gives_what_one_pass_gives(cut):
    whole, first, second = observed(BATCHES), observed(BATCHES[:cut]), observed(BATCHES[cut:])
    first.merge(second)
    assert (first.count, first.minimum, first.maximum) == (whole.count, whole.minimum, whole.maximum)
    assert first.moving.range == pytest.approx(whole.moving.range, rel=1e-12)
    np.testing.assert_array_equal(first.histogram.counts, whole.histogram.counts)
    np.testing.assert_array_equal(first.channels.high, whole.channels.high)
    np.testing.assert_allclose(first.channels.mean, whole.channels.mean, rtol=1e-12)


def test_an_empty_batch_changes_nothing():
    statistics = observed(BATCHES)
    before = statistics.moving.range
    statistics.add(np.zeros((0, 6), dtype=np.float32))
    assert statistics.moving.range == before


def test_a_nan_after_good_batches_is_not_lost():
    for channels in (None, Channels(-1)):
        statistics = TensorStatistics(channels=channels)
        statistics.add(np.ones((2, 3), dtype=np.float32))
        statistics.add(np.array([[1, np.nan, 2]], dtype=np.float32))
        assert np.isnan([statistics.minimum, statistics.maximum]).all()
