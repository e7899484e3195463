from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeopt.export import export
from edgeopt.export.parity import compare, parity_batches
from edgeopt.targets.target import load_target


def test_the_error_is_relative_to_the_largest_magnitude():
    found = compare(np.array([1.0, -20.0]), np.array([1.0, -19.0]))
    assert found.absolute == pytest.approx(1.0)
    assert found.relative == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (np.ones(3), np.ones(4)),
        (np.ones(2), np.array([1.0, np.nan])),
        (np.array([1.0, np.inf]), np.array([1.0, 2.0])),
    ],
)
def test_other_shapes_and_values_that_are_not_finite_are_infinitely_far(expected, actual):
    assert compare(expected, actual).relative == float("inf")


def test_equal_infinities_and_empty_outputs_are_no_difference():
    masked = np.array([1.0, -np.inf], np.float32)
    assert compare(masked, masked.copy()).relative == 0
    assert compare(np.ones((0, 3)), np.ones((0, 3))).relative == 0


def test_integers_must_be_equal():
    assert compare(np.array([1, 2]), np.array([1, 2])).relative == 0
    assert compare(np.array([1, 2]), np.array([1, 3])).relative == 1


@pytest.mark.parametrize(("flips", "relative"), [(1, 1 / 16384), (2, 1.0)])
def test_a_class_in_ten_thousand_may_change_on_the_edges_of_a_map(flips, relative):
    expected = np.zeros((1, 128, 128), np.int64)
    actual = expected.copy()
    actual.flat[:flips] = 3
    found = compare(expected, actual)
    assert (found.absolute, found.relative) == (1.0, pytest.approx(relative))
    assert compare(expected[:0], actual[:0]).relative == 0


def test_batches_differ_in_size_and_length_and_keep_the_real_rows():
    samples = [{"ids": np.arange(1, n + 1)[None]} for n in (7, 3, 5)]
    batches = parity_batches(samples, {"ids": {0: "batch", 1: "sequence"}}, limit=8)
    assert [batch["ids"].shape for batch in batches] == [(1, 3), (1, 7), (3, 7), (3, 7)]
    assert batches[2]["ids"][0].tolist() == [1, 2, 3, 0, 0, 0, 0]


def test_a_fixed_batch_is_left_alone():
    samples = [{"ids": np.ones((2, 3))}]
    assert parity_batches(samples, {"ids": {}}, limit=8) == samples
    assert parity_batches(samples, {"ids": {0: "time"}}, limit=8) == samples
    assert parity_batches(samples, {"ids": {0: "time", 1: "batch"}}, limit=8) == samples


def test_an_output_that_is_no_number_is_remarked_and_a_scalar_is_an_input(tmp_path):
    class Broken(torch.nn.Module):
        def forward(self, x, scale):
            return {"y": torch.log(-x.abs() - 1), "z": x * scale / 0}

    target = load_target("x86-avx2")
    samples = [{"x": np.ones((2, 3), np.float32), "scale": np.array(2, np.float32)}]
    made = export(Broken(), samples, target=target, output=tmp_path)
    assert [spec.shape for spec in made.inputs] == [("batch", 3), ()]
    assert made.warnings == ("PyTorch's own output 'y' holds NaN on the samples, of which equality says little",)
