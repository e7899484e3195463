from __future__ import annotations

import numpy as np
import pytest

from edgeopt.quantize.language.blocks import round_blocks


def weights(outputs=12, inputs=96, seed=0):
    return np.random.default_rng(seed).standard_t(4, (outputs, inputs)).astype(np.float32)


def plain(weight, bits, block):
    """Round to nearest, block by block, as slowly as it can be written."""
    made, top = np.empty_like(weight), 2**bits - 1
    for row in range(len(weight)):
        for start in range(0, weight.shape[1], block):
            part = weight[row, start : start + block]
            low, high = min(part.min(), 0), max(part.max(), 0)
            scale = np.float32((high - low) / top) if high > low else np.float32(1)
            zero = np.clip(np.round(-low / scale), 0, top)
            made[row, start : start + block] = (np.clip(np.round(part / scale) + zero, 0, top) - zero) * scale
    return made


@pytest.mark.parametrize(("bits", "block"), [(4, 32), (8, 32), (4, 16)])
def test_rounding_to_nearest_equals_the_plain_loop(bits, block):
    weight = weights()
    found = round_blocks(weight, bits=bits, block=block)
    np.testing.assert_allclose(found.matrix(), plain(weight, bits, block), atol=1e-6)
    assert found.numbers.dtype == found.zeros.dtype == np.uint8


@pytest.mark.parametrize("rounding", ["rtn", "search", "hqq"])
def test_every_rounding_keeps_zero_and_odd_widths(rounding):
    weight = weights(inputs=50)
    weight[3] = 0
    found = round_blocks(weight, bits=4, block=32, rounding=rounding)
    assert found.matrix().shape == weight.shape
    assert not found.matrix()[3].any()
    span = (weight.max() - weight.min()) / 15
    assert np.abs(found.matrix() - weight).max() <= span


def test_search_loses_less_than_rounding_to_nearest_by_its_own_measure():
    weight = weights(64, 128)
    importance = np.random.default_rng(1).gamma(0.5, size=128).astype(np.float32)
    errors = {}
    for rounding in ("rtn", "search"):
        found = round_blocks(weight, bits=4, block=32, rounding=rounding, importance=importance).matrix()
        errors[rounding] = float((importance * np.square(found - weight)).sum())
    assert errors["search"] < 0.9 * errors["rtn"]


def test_a_matrix_on_a_grid_is_kept_exactly():
    rng = np.random.default_rng(2)
    numbers = rng.integers(0, 16, (4, 64))
    numbers[:, ::32], numbers[:, 1::32] = 0, 15
    weight = ((numbers - 7) * 0.125).astype(np.float32)
    for rounding in ("rtn", "search"):
        np.testing.assert_allclose(round_blocks(weight, bits=4, block=32, rounding=rounding).matrix(), weight, atol=1e-6)


def test_rows_are_independent_of_how_many_there_are():
    weight = weights(300, 64)
    whole = round_blocks(weight, bits=4, block=32, rounding="search").matrix()
    np.testing.assert_array_equal(round_blocks(weight[17:18], bits=4, block=32, rounding="search").matrix()[0], whole[17])
