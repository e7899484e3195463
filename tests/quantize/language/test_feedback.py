from __future__ import annotations

import numpy as np

from edgeopt.quantize.language.blocks import round_blocks
from edgeopt.quantize.language.feedback import round_with_feedback


def lost(weight, made, inner):
    left = made - weight
    return float(np.einsum("oi,ij,oj->", left, inner, left))


def test_correlated_inputs_make_up_for_each_other():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 8)) @ rng.normal(size=(8, 64)) + 0.1 * rng.normal(size=(400, 64))
    inner = x.T @ x / 400
    weight = rng.normal(size=(24, 64)).astype(np.float32)
    fed = lost(weight, round_with_feedback(weight, inner, bits=4, block=32).matrix(), inner)
    plain = lost(weight, round_blocks(weight, bits=4, block=32, rounding="search").matrix(), inner)
    assert fed < 0.5 * plain


def test_independent_inputs_leave_nothing_to_feed_back():
    weight = np.random.default_rng(1).normal(size=(8, 64)).astype(np.float32)
    fed = round_with_feedback(weight, np.eye(64), bits=4, block=32).matrix()
    plain = round_blocks(weight, bits=4, block=32, rounding="search", importance=np.ones(64, np.float32)).matrix()
    np.testing.assert_allclose(fed, plain, atol=1e-5)


def test_widths_that_no_block_divides_are_filled_up():
    weight = np.random.default_rng(2).normal(size=(8, 50)).astype(np.float32)
    made = round_with_feedback(weight, np.eye(50), bits=4, block=32)
    assert made.numbers.shape == (8, 2, 32)
    assert np.abs(made.matrix() - weight).max() < 0.5


def test_rows_that_are_worked_on_in_turns_are_the_same(monkeypatch):
    weight = np.random.default_rng(3).normal(size=(7, 64)).astype(np.float32)
    whole = round_with_feedback(weight, np.eye(64), bits=4, block=32).matrix()
    monkeypatch.setattr("edgeopt.quantize.language.feedback._CHUNK", 128)
    assert np.array_equal(round_with_feedback(weight, np.eye(64), bits=4, block=32).matrix(), whole)
