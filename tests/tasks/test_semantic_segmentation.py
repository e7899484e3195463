"""Semantic segmentation: mean IoU, pixels that do not count, labels in the geometry of the input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgeopt.data.annotations import IGNORED
from edgeopt.data.samples import Samples, from_arrays
from edgeopt.tasks.decoding import inference
from edgeopt.tasks.semantic_segmentation import SemanticSegmentation

TASK = SemanticSegmentation()


def maps(truths: list[np.ndarray]) -> Samples:
    return replace(from_arrays({"x": np.zeros((len(truths), 3, 4, 4), np.float32)}), annotations=truths)


def test_mean_iou_over_classes_that_occur() -> None:
    truth = np.array([[0, 0, 1, 1], [0, 0, 1, 255]], np.uint8)
    answer = np.array([[0, 1, 1, 1], [0, 0, 1, 0]], np.uint16)
    found = TASK.measure([answer], maps([truth]))
    assert found.value == pytest.approx((3 / 4 + 3 / 4) / 2)
    assert TASK.further([answer], maps([truth]))[0].value == pytest.approx(6 / 7)
    assert TASK.agreement([answer], [truth.astype(np.uint16)]) == pytest.approx(6 / 8)


def test_answers_on_a_coarser_grid_are_enlarged() -> None:
    truth = np.repeat(np.repeat(np.array([[0, 1], [1, 0]], np.uint8), 3, axis=0), 3, axis=1)
    assert TASK.measure([np.array([[0, 1], [1, 0]], np.uint16)], maps([truth])).value == 1.0


def test_the_answer_is_in_the_pixels_of_the_image() -> None:
    place = inference("decoding").Placement((8, 4), (4, 4), (0.5, 0.5), (0.0, 1.0))
    logits = np.zeros((2, 4, 4))
    logits[1] = [-5.0, -5.0, 5.0, 5.0]
    answer = TASK.answer({"logits": logits}, {}, place)
    assert answer.shape == (4, 8)
    assert (answer == np.repeat([[0, 0, 0, 0, 1, 1, 1, 1]], 4, axis=0)).all()
    samples = replace(maps([np.ones((4, 8), np.uint8)]), contexts=[place])
    labels = TASK.labels(samples, [0], {})["labels"][0]
    assert labels.tolist() == [[IGNORED] * 4, [1] * 4, [1] * 4, [IGNORED] * 4]


def test_the_loss_is_per_counted_pixel() -> None:
    labels = TASK.labels(maps([np.array([[0, 255], [1, 1]], np.uint8)]), [0], {})
    logits = torch.zeros(1, 3, 2, 2)
    found = TASK.loss({"logits": logits}, {"labels": torch.from_numpy(labels["labels"])})
    assert float(found.count) == 3
    assert float(found.mean()) == pytest.approx(np.log(3), rel=1e-6)
