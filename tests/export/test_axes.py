from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import DataError, RecipeError
from edgeopt.export.axes import find_axes, fit


def sample(**shapes):
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def test_only_the_batch_is_dynamic_where_nothing_else_varies():
    axes = find_axes([sample(image=(1, 3, 8, 8)), sample(image=(2, 3, 8, 8))], fixed={}, given={}, known={})
    assert axes == {"image": {0: "batch"}}


def test_axes_that_vary_alike_share_a_name():
    samples = [sample(left=(1, 4), right=(1, 2, 4), other=(1, 9)), sample(left=(1, 5), right=(1, 2, 5), other=(1, 7))]
    axes = find_axes(samples, fixed={}, given={}, known={})
    assert axes["left"][1] == axes["right"][2] != axes["other"][1]


def test_a_state_has_the_batch_further_on():
    samples = [sample(x=(2, 7, 8), h0=(1, 2, 6)), sample(x=(3, 5, 8), h0=(1, 3, 6))]
    axes = find_axes(samples, fixed={}, given={}, known={})
    assert axes == {"x": {0: "batch", 1: "x_axis1"}, "h0": {1: "batch"}}
    first = [sample(x=(7, 2, 8), h0=(4, 2, 6)), sample(x=(5, 3, 8), h0=(4, 3, 6))]
    axes = find_axes(first, fixed={}, given={}, known={})
    assert axes["h0"] == {1: axes["x"][1]}


def test_a_state_has_the_batch_further_on_where_no_sample_has_another_batch():
    samples = [sample(x=(3, 7, 8), h0=(2, 3, 6), c0=(2, 3, 6)), sample(x=(3, 5, 8), h0=(2, 3, 6), c0=(2, 3, 6))]
    axes = find_axes(samples, fixed={}, given={}, known={})
    assert axes == {"x": {0: "batch", 1: "x_axis1"}, "h0": {1: "batch"}, "c0": {1: "batch"}}
    one = [sample(h0=(2, 3, 6), x=(3, 7, 8))]
    assert find_axes(one, fixed={}, given={}, known={}) == {"h0": {1: "batch"}, "x": {0: "batch"}}


def test_an_input_with_another_first_axis_is_no_batch():
    samples = [sample(image=(2, 3, 8, 8), scale=(4,)), sample(image=(3, 3, 8, 8), scale=(4,))]
    assert find_axes(samples, fixed={}, given={}, known={}) == {"image": {0: "batch"}, "scale": {}}
    assert find_axes([sample(image=(2, 3), at=())], fixed={}, given={}, known={}) == {"image": {0: "batch"}, "at": {}}


def test_what_the_caller_says_wins():
    axes = find_axes([sample(x=(1, 4), y=(1, 4))], fixed={"y": [1, 4]}, given={"x": {0: "rows", 1: "columns"}}, known={})
    assert axes == {"x": {0: "rows", 1: "columns"}, "y": {}}


def test_unknown_names_and_samples_that_disagree_are_errors():
    with pytest.raises(RecipeError, match="axes: the model has no input 'z'"):
        find_axes([sample(x=(1, 4))], fixed={}, given={"z": {0: "batch"}}, known={})
    with pytest.raises(RecipeError, match="axes: input 'x' has 2 axes, counted from 0, and no axis 5"):
        find_axes([sample(x=(1, 4))], fixed={}, given={"x": {5: "batch"}}, known={})
    for name in ("my axis", "class", "", "a + 1"):
        with pytest.raises(RecipeError, match="write a name such as batch"):
            find_axes([sample(x=(1, 4))], fixed={}, given={"x": {0: name}}, known={})
    with pytest.raises(DataError, match="sample 0: the axis 'a' is 2 in 'x' and 3 in 'y'"):
        find_axes([sample(x=(2, 4), y=(4, 3))], fixed={}, given={"x": {0: "a"}, "y": {1: "a"}}, known={})
    with pytest.raises(DataError, match="sample 1"):
        find_axes([sample(x=(1, 4)), sample(y=(1, 4))], fixed={}, given={}, known={})


def test_fit_repeats_rows_pads_and_cuts():
    rows = np.array([[1, 2, 3]])
    assert fit(rows, [2, 4]).tolist() == [[1, 2, 3, 0], [1, 2, 3, 0]]
    assert fit(rows, [1, 2]).tolist() == [[1, 2]]
    with pytest.raises(RecipeError, match="3 axes"):
        fit(rows, [1, 2, 3])
    with pytest.raises(RecipeError, match="300,000,000,000 values"):
        fit(rows, [100_000_000_000, 3])
    with pytest.raises(DataError, match="no rows to fill"):
        fit(rows[:0], [1, 3])
