"""Ranges of weights against an exhaustive float64 search, channel by channel."""

import numpy as np
import pytest

from edgeopt.quantize.affine import Grid
from edgeopt.quantize.calibrate.weights import weight_limits

GENERATOR = np.random.default_rng(2)
WEIGHT = (GENERATOR.standard_t(4, (6, 5, 3, 3)) * np.array([1, 0.1, 3, 1, 1, 0])[:, None, None, None]).astype(np.float32)


def plain_error(values: np.ndarray, limit: float, levels: int) -> float:
    step = limit / levels
    return sum((float(value) - max(-levels, min(levels, round(float(value) / step))) * step) ** 2 for value in values.ravel())


@pytest.mark.parametrize(("bits", "axis"), [(8, 0), (8, 1), (8, None), (4, 0), (4, None), (16, 0), (16, None)])
def test_no_other_range_of_the_search_has_a_smaller_error(bits, axis):
    got = weight_limits(WEIGHT, axis, Grid(bits, symmetric=True))
    channels = [WEIGHT] if axis is None else list(np.moveaxis(WEIGHT, axis, 0))
    assert got.shape == (len(channels),)
    levels = 2 ** (bits - 1) - 1
    for limit, values in zip(got, channels, strict=True):
        largest = float(np.abs(values).max())
        if largest == 0:
            assert limit == 0
            continue
        best = min(plain_error(values, largest * share, levels) for share in np.linspace(0.3, 1.0, 71))
        found = plain_error(values, float(limit), levels)
        assert found <= best * (1 + 1e-9), f"found {found:.6g} at {limit:.4g}, the best {best:.6g}"


def test_sixteen_bits_clip_nothing_to_speak_of_and_four_bits_do():
    largest = np.abs(WEIGHT[:5]).max(axis=(1, 2, 3))
    assert (weight_limits(WEIGHT[:5], 0, Grid(16, symmetric=True)) >= 0.97 * largest).all()
    assert (weight_limits(WEIGHT[:5], 0, Grid(4, symmetric=True)) < 0.95 * largest).any()


def test_weights_need_a_symmetric_grid():
    with pytest.raises(ValueError, match="symmetrically"):
        weight_limits(WEIGHT, 0, Grid(8))
