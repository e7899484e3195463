"""The loss of detectors with a set of boxes: transformers' own, part by part, and images without objects."""

from __future__ import annotations

import pytest
import torch

from edgeopt.tasks.set_loss import generalized_overlap, set_loss

pytest.importorskip("scipy")


def made(classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, 7, classes, generator=generator), torch.rand(1, 7, 4, generator=generator) * 0.5 + 0.1


WANTED = (torch.tensor([1, 0]), torch.tensor([[0.3, 0.3, 0.2, 0.2], [0.6, 0.5, 0.3, 0.1]]))


def test_it_is_transformers_loss_of_detr() -> None:
    from transformers.loss.loss_for_object_detection import HungarianMatcher, ImageLoss

    logits, boxes = made(3)
    theirs = ImageLoss(HungarianMatcher(class_cost=1, bbox_cost=5, giou_cost=2), 2, 0.1, ["labels", "boxes"])
    targets = [{"class_labels": WANTED[0], "boxes": WANTED[1]}]
    parts = theirs({"logits": logits, "pred_boxes": boxes}, targets)
    expected = parts["loss_ce"] + 5 * parts["loss_bbox"] + 2 * parts["loss_giou"]
    assert float(set_loss(logits, boxes, [WANTED], nothing=True)) == pytest.approx(float(expected), rel=1e-5)


def test_sigmoids_have_the_focal_loss_of_transformers() -> None:
    from transformers.loss.loss_for_object_detection import sigmoid_focal_loss

    logits, boxes = made(2)
    found = set_loss(logits, boxes, [(torch.zeros(0, dtype=torch.long), torch.zeros(0, 4))], nothing=False)
    expected = sigmoid_focal_loss(logits, torch.zeros(1, 7, 2), 1) * 7  # (theirs is the mean over boxes)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    assert torch.isfinite(set_loss(logits, boxes, [WANTED], nothing=False))


def test_images_without_objects_learn_that_there_are_none() -> None:
    logits, boxes = made(3)
    found = set_loss(logits, boxes, [(torch.zeros(0, dtype=torch.long), torch.zeros(0, 4))], nothing=True)
    expected = torch.nn.functional.cross_entropy(logits[0], torch.full((7,), 2))
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_the_generalized_overlap_of_boxes_apart_is_negative() -> None:
    one = torch.tensor([[0.5, 0.5, 1.0, 1.0]])
    found = generalized_overlap(one, torch.tensor([[0.5, 0.5, 1.0, 1.0], [2.5, 0.5, 1.0, 1.0]]))
    assert found.tolist() == [[1.0, pytest.approx(-1 / 3)]]
