"""Kinds of detectors, recognised from shapes and values of their outputs."""

from __future__ import annotations

import numpy as np

from edgeopt.tasks.detector_forms import recognised

SIZE = (64, 64)
CELLS = 8 * 8 + 4 * 4 + 2 * 2
RANDOM = np.random.default_rng(0)


def shares(*shape: int) -> np.ndarray:
    return RANDOM.random(shape)


def test_grids_of_offsets_and_rows_of_pixels() -> None:
    grid = np.concatenate([RANDOM.standard_normal((CELLS, 4)), shares(CELLS, 6)], axis=1)
    found = recognised({"output": grid}, SIZE, 5)
    assert found is not None
    assert (found.encoding, found.objectness, found.strides, found.activation) == ("grid", True, [8, 16, 32], "none")
    pixels = np.concatenate([RANDOM.uniform(0, 64, (CELLS, 4)), shares(CELLS, 6)], axis=1)
    found = recognised({"output": pixels}, SIZE, 5)
    assert found is not None
    assert (found.encoding, found.objectness) == ("cxcywh", True)


def test_logits_need_a_sigmoid() -> None:
    grid = np.concatenate([RANDOM.standard_normal((CELLS, 4)), 4 * RANDOM.standard_normal((CELLS, 6))], axis=1)
    found = recognised({"output": grid}, SIZE, 5)
    assert found is not None
    assert (found.activation, found.objectness_activation) == ("sigmoid", "sigmoid")


def test_columns_of_boxes_without_objectness() -> None:
    found = recognised({"output0": np.concatenate([RANDOM.uniform(0, 64, (4, CELLS)), shares(5, CELLS)])}, SIZE, 5)
    assert found is not None
    assert (found.transposed, found.encoding, found.objectness) == (True, "cxcywh", False)


def test_maps_with_objectness_first() -> None:
    found = recognised({"758": shares(10, 4, 4)}, SIZE, 5)
    assert found is not None
    assert (found.encoding, found.order, found.strides, found.powers) == (
        "tanh-grid",
        "objectness-box-classes",
        [16],
        (0.6, 0.4),
    )


def test_a_map_of_cells_is_known_by_its_values_where_the_number_of_classes_is_not() -> None:
    values = shares(10, 4, 4)
    assert recognised({"758": values}, SIZE, None) is None, "an image is like that"
    values[5:] /= values[5:].sum(axis=0)
    values[1:5] -= 0.5
    found = recognised({"758": values}, SIZE, None)
    assert found is not None and found.encoding == "tanh-grid"
    values[0] += 3
    assert recognised({"758": values}, SIZE, None) is None


def test_transformers_and_ssd_heads() -> None:
    found = recognised({"logits": shares(100, 6), "pred_boxes": shares(100, 4)}, SIZE, 5)
    assert found is not None
    assert (found.background, found.iou_threshold, found.unit) == (-1, None, "relative")
    boxes = np.sort(shares(50, 4), axis=1)[:, [0, 1, 2, 3]]
    scores = shares(50, 2)
    found = recognised({"scores": scores / scores.sum(axis=1, keepdims=True), "boxes": boxes}, SIZE, None)
    assert found is not None
    assert (found.background, found.unit, found.encoding, found.scores) == (0, "relative", "xyxy", "scores")


def test_what_is_none_of_these_is_not_known() -> None:
    assert recognised({"y": shares(10)}, SIZE, 5) is None
    assert recognised({"y": shares(30, 7)}, SIZE, 5) is None
    assert recognised({"a": shares(3), "b": shares(3), "c": shares(3)}, SIZE, 5) is None


def test_outputs_that_say_nothing_are_not_known() -> None:
    nothing = {"boxes": np.zeros((0, 4), np.float32), "scores": np.zeros((0, 3), np.float32)}
    assert recognised(nothing, (64, 64), None) is None
    large = recognised({"map": np.zeros((7, 160, 160), np.float32)}, (64, 64), 2)
    assert large is not None and large.strides == [1]
