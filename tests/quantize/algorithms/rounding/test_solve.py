"""Rounding for the output's sake against all roundings there are, and against plain rounding."""

from itertools import product

import numpy as np
import pytest

from edgeopt.quantize.algorithms.rounding.solve import Levels, Moments, damped, objective, solve


def problem(groups: int, outputs: int, size: int, *, rows: int = 400):
    """Random correlated inputs, weights, and outputs that differ a little from weights times inputs."""
    generator = np.random.default_rng(size)
    x = generator.standard_normal((groups, rows, size)) @ generator.standard_normal((groups, size, size))
    weight = generator.standard_normal((groups, outputs, size))
    y = x @ weight.swapaxes(1, 2) + 0.01 * generator.standard_normal((groups, rows, outputs))
    moments = Moments(x.swapaxes(1, 2) @ x / rows, y.swapaxes(1, 2) @ x / rows, np.square(y).mean(axis=1))
    ones = np.ones((groups, outputs, 1))
    return weight, moments, Levels(np.abs(weight).max(axis=2, keepdims=True) / 7, -7 * ones, 7 * ones), x, y


def test_it_comes_near_the_best_of_all_roundings():
    weight, moments, grid, *_ = problem(1, 4, 8)
    inner, cross = damped(weight, moments)
    chosen, _, _ = solve(weight, moments, grid)
    floor = np.floor(weight / grid.step)
    tried = [objective((floor + np.array(up)) * grid.step, inner, cross) for up in product((0, 1), repeat=8)]
    best, got = np.min(tried, axis=0) + moments.power, objective(chosen, inner, cross) + moments.power
    plain = objective(grid.nearest(weight) * grid.step, inner, cross) + moments.power
    assert (got <= plain + 1e-9).all()
    assert got.sum() < best.sum() + 0.1 * (plain.sum() - best.sum())


@pytest.mark.parametrize(("groups", "outputs", "size"), [(1, 5, 12), (6, 1, 9), (2, 3, 4)])
def test_errors_are_those_of_the_rows_and_fall(groups, outputs, size):
    weight, moments, grid, x, y = problem(groups, outputs, size)
    chosen, before, after = solve(weight, moments, grid)
    numbers = chosen / grid.step
    np.testing.assert_allclose(numbers, np.round(numbers), atol=1e-9)
    assert (np.abs(numbers - weight / grid.step) < 1 + 1e-9).all(), "up or down, no farther"
    for rounded, error in ((grid.nearest(weight) * grid.step, before), (chosen, after)):
        exact = np.square(y - x @ rounded.swapaxes(1, 2)).mean(axis=1) / np.square(y).mean(axis=1)
        np.testing.assert_allclose(error, exact, rtol=1e-6, atol=1e-12)
    assert after.sum() < before.sum()


def test_channels_that_are_never_active_keep_their_nearest_weights():
    weight, moments, grid, *_ = problem(1, 3, 6)
    dead = Moments(np.zeros_like(moments.inner), np.zeros_like(moments.cross), np.zeros_like(moments.power))
    chosen, before, after = solve(weight, dead, grid)
    np.testing.assert_allclose(chosen, grid.nearest(weight) * grid.step)
    assert not before.any()
    assert not after.any()
