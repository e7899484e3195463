"""Object detection: boxes of the image, labels of the input, agreement, and kinds of detectors that are recognised."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgeopt.data.annotations import BoxTruth
from edgeopt.data.samples import Samples, from_arrays
from edgeopt.errors import DataError
from edgeopt.tasks.average_precision import Detections
from edgeopt.tasks.decoding import inference
from edgeopt.tasks.object_detection import ObjectDetection

TASK = ObjectDetection()
PLACE = inference("decoding").Placement((200, 100), (100, 100), (0.5, 0.5), (0.0, 25.0))  # letterboxed, in the centre


def truth(*boxes: tuple[float, float, float, float]) -> BoxTruth:
    return BoxTruth(np.array(boxes, np.float32).reshape(-1, 4), np.zeros(len(boxes), np.int64), np.zeros(len(boxes), bool))


def images(truths: list[BoxTruth]) -> Samples:
    samples = from_arrays({"images": np.zeros((len(truths), 3, 100, 100), np.float32)})
    return replace(samples, annotations=truths, contexts=[PLACE] * len(truths), names=("cat", "dog"))


def test_boxes_come_back_in_the_pixels_of_the_image() -> None:
    pytest.importorskip("pycocotools")
    samples = images([truth((20, 10, 120, 90))])
    outputs = {"boxes": np.array([[10.0, 30.0, 60.0, 70.0], [0, 0, 5, 5]]), "scores": np.array([[0.9, 0.1], [0.2, 0.1]])}
    task = TASK.fitted(outputs, samples)
    answer = task.answer(outputs, samples[0], PLACE)
    assert answer.boxes[0].tolist() == [20, 10, 120, 90]
    assert task.measure([answer], samples).value == pytest.approx(1.0)
    labels = TASK.labels(samples, [0], {})
    assert labels["boxes"].tolist() == [[10, 30, 60, 70]]
    assert labels["images"].tolist() == [0]


def test_boxes_agree_by_class_and_overlap() -> None:
    one = Detections(np.array([[0.0, 0, 10, 10], [50, 50, 60, 60]]), np.array([0.9, 0.8]), np.array([0, 1]))
    near = Detections(np.array([[1.0, 1, 10, 10]]), np.array([0.9]), np.array([0]))
    assert TASK.agreement([one], [near]) == pytest.approx(2 * 1 / 3)
    assert TASK.changed([one, near], [near, near]) == 1
    other = Detections(near.boxes, near.scores, np.array([1]))
    assert TASK.agreement([near], [other]) == 0.0
    faint = Detections(one.boxes, np.array([0.9, 0.1]), one.classes)
    assert TASK.agreement([faint], [near]) == 1.0, "boxes below 0.3 are not shown, so they do not count"


def test_outputs_of_no_known_kind_say_how_to_describe_them() -> None:
    with pytest.raises(DataError, match=r"not boxes of a known kind: heat \[7\]; describe them in a file: --decoding"):
        TASK.fitted({"heat": np.zeros(7)}, images([truth()]))


def test_a_set_of_boxes_is_learned() -> None:
    pytest.importorskip("scipy")
    task, samples = ObjectDetection(), images([truth((20, 10, 120, 90)), truth()])
    labels = {name: torch.from_numpy(np.asarray(array)) for name, array in task.labels(samples, [0, 1], {}).items()}
    boxes = torch.full((2, 3, 4), 0.5, requires_grad=True)
    logits = torch.zeros((2, 3, 3), requires_grad=True)
    optimizer = torch.optim.Adam([boxes, logits], lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        loss = task.loss({"logits": logits, "pred_boxes": boxes}, labels)
        assert loss.count == 2
        loss.total.backward()
        optimizer.step()
    best = logits[0].softmax(-1)[:, 0].argmax()
    assert boxes[0, best].tolist() == pytest.approx([0.35, 0.5, 0.5, 0.4], abs=0.02), "of the input: 10, 30, 60, 70"
    assert logits[1].argmax(-1).tolist() == [2, 2, 2], "nothing is in the second image"


def test_a_detector_without_a_loss_says_so() -> None:
    with pytest.raises(DataError, match="every detector has a loss of its own"):
        TASK.loss({}, {})
