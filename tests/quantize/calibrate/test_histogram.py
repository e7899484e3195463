import numpy as np
import pytest

from edgeopt.quantize.calibrate.histogram import Histogram


def test_every_value_is_counted_in_a_bin_that_holds_it():
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.standard_normal(10_000) * 10.0**e for e in range(-6, 6)]).astype(np.float32)
    histogram = Histogram()
    histogram.add(values.reshape(100, -1))
    masses = histogram.masses()
    assert masses.count.sum() == values.size
    assert (masses.low <= masses.high).all()
    assert (np.diff(masses.low) >= 0).all()
    for low, high, count in list(zip(masses.low, masses.high, masses.count, strict=True))[::97]:
        inside = (values >= low) & (values <= high)
        assert inside.sum() == count, f"bin [{low}, {high}]"


def test_bins_are_narrow():
    histogram = Histogram()
    histogram.add(np.linspace(-5, 5, 9999, dtype=np.float32))
    masses = histogram.masses()
    largest = np.maximum(np.abs(masses.low), np.abs(masses.high))
    nonzero = largest > 1e-30
    assert ((masses.high - masses.low)[nonzero] <= largest[nonzero] / 128).all()


def test_merging_is_counting_together():
    values = np.random.default_rng(3).standard_normal(5000).astype(np.float32)
    whole, first, second = Histogram(), Histogram(), Histogram()
    whole.add(values)
    first.add(values[:1234])
    second.add(values[1234:])
    first.merge(second)
    np.testing.assert_array_equal(first.counts, whole.counts)


def test_zeros_and_denormals_are_exactly_zero():
    histogram = Histogram()
    histogram.add(np.array([0.0, -0.0, 1e-42, -1e-42], dtype=np.float32))
    masses = histogram.masses()
    assert masses.count.sum() == 4
    assert (masses.low == 0).all()
    assert (masses.high == 0).all()


def test_of_large_arrays_a_share_is_counted_with_its_weight():
    """A step that has a factor in common with the rows would see some channels alone."""
    channels = np.exp2(np.arange(12, dtype=np.float32))
    values = np.tile(channels, 10_000)
    histogram = Histogram()
    histogram.add(values.reshape(100, 100, 12), enough=10_000)
    masses = histogram.masses()
    assert masses.count.size == channels.size
    assert masses.count.sum() == pytest.approx(values.size, rel=0.01)
    assert masses.count == pytest.approx(np.full(12, 10_000), rel=0.02)


def test_all_of_a_small_array_is_counted():
    histogram = Histogram()
    histogram.add(np.arange(1, 1000, dtype=np.float32), enough=1000)
    assert histogram.counts.sum() == 999 and set(np.unique(histogram.counts)) <= {0, 1, 2, 4}
