"""Scales of a block of three convolutions."""

import numpy as np

from edgeopt.quantize.algorithms.equalize.choose import Seen, choose_scales


def test_channels_that_reach_the_ceiling_are_not_scaled():
    generator = np.random.default_rng(2)
    weights = (
        generator.standard_normal((3, 2, 1, 1)),
        generator.standard_normal((3, 1, 3, 3)),
        generator.standard_normal((4, 3, 1, 1)),
    )
    weights[1][1] *= 50
    inner = Seen(np.array([6.0, 0.2, 5.0]), np.array([1.0, 0.01, 1.0]))
    choice = choose_scales(weights, (Seen(np.ones(2), np.ones(2)), inner, inner), (6.0, 6.0))
    assert choice.first[0] == choice.second[0] == 1
    assert choice.first[2] == 1, "5 · 1.5 exceeds 6"
    assert choice.first[1] > 3
    assert choice.gain_db > 2


def test_where_nothing_gains_the_scales_are_one():
    ones = np.ones((2, 2, 1, 1)), np.ones((2, 1, 3, 3)), np.ones((2, 2, 1, 1))
    seen = Seen(np.full(2, 4.0), np.ones(2))
    choice = choose_scales(ones, (seen, seen, seen), (4.0, 4.0))
    assert (choice.first.tolist(), choice.second.tolist(), choice.gain_db) == ([1, 1], [1, 1], 0.0)


def test_the_quiet_channel_of_a_loud_filter_is_scaled_up():
    generator = np.random.default_rng(0)
    loud = np.array([1.0, 100.0])[:, None, None, None]
    weights = (
        generator.standard_normal((2, 3, 1, 1)) / loud,
        generator.standard_normal((2, 1, 3, 3)),
        generator.standard_normal((4, 2, 1, 1)),
    )
    inner = Seen(np.array([5.0, 0.05]), np.array([1.0, 1e-4]))
    choice = choose_scales(weights, (Seen(np.ones(3), np.ones(3)), inner, inner), (np.inf, np.inf))
    assert choice.first[1] > 10 * choice.first[0]
    assert choice.second[1] > 10 * choice.second[0]
    assert choice.gain_db > 0
