"""Recognise how a detector writes its boxes from the shapes, names and values of its outputs.

    [rows, 5 + classes]        YOLOX where rows are the cells of strides 8, 16 and 32 and the numbers are small;
                               YOLOv5 where they are pixels already
    [4 + classes, rows]        YOLOv8 and later: centre and size in pixels, no objectness
    [5 + classes, h, w]        FastestDet: objectness first, offsets through tanh
    logits and pred_boxes      DETR, YOLOS: centre and size relative to the image, the last class is no object
    boxes [n, 4], scores       SSD heads that are decoded in the graph; the first class is the background

A detector of another kind is described in a file: ``--decoding FILE.toml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeopt.batches import Array
from edgeopt.tasks.decoding import Boxes

_STRIDES = [8, 16, 32]
_SMALL = 32.0  # numbers of a grid are offsets and logarithms; pixels are larger


def recognised(outputs: Mapping[str, Array], input_size: tuple[int, int], classes: int | None) -> Boxes | None:
    """Return how one image's outputs (without a batch axis) are boxes; None: not known.

    Args:
        outputs: by name.
        input_size: width and height of the model's input.
        classes: number of classes of the data; None: not known.
    """
    if {"logits", "pred_boxes"} <= set(outputs):
        return _detr("logits", "pred_boxes")
    if len(outputs) == 1:
        (name, values), *_ = outputs.items()
        return _single(values, input_size, classes, name)
    if len(outputs) == 2:
        return _pair(outputs)
    return None


def _single(values: Array, input_size: tuple[int, int], classes: int | None, name: str) -> Boxes | None:
    if values.ndim == 3 and (values.shape[0] == 5 + classes if classes is not None else _scores_of_cells(values)):
        return _common(
            output=name,
            transposed=True,
            objectness=True,
            order="objectness-box-classes",
            encoding="tanh-grid",
            strides=[max(1, round(input_size[0] / values.shape[2]))],
            powers=(0.6, 0.4),
        )
    if values.ndim != 2:
        return None
    cells = sum((input_size[0] // stride) * (input_size[1] // stride) for stride in _STRIDES)
    rows, columns = values.shape
    if columns > rows and (classes is None or rows == 4 + classes):
        return _common(output=name, transposed=True, encoding="cxcywh", activation=_activation(values[4:].T))
    if classes is not None and columns not in {5 + classes, 4 + classes}:
        return None
    activation = _activation(values[:, 5:])
    if rows == cells and float(np.percentile(np.abs(values[:, :4]), 90)) < _SMALL:
        return _common(
            output=name,
            objectness=True,
            encoding="grid",
            strides=list(_STRIDES),
            activation=activation,
            objectness_activation=activation,
        )
    return _common(output=name, objectness=columns != 4 + (classes or -1), encoding="cxcywh", activation=activation)


def _scores_of_cells(values: Array) -> bool:
    """Return whether a map has an objectness of 0 to 1 first and, behind a box, classes that exclude each other."""
    scores = values[5:]
    if len(scores) < 2 or values[0].min() < 0 or values[0].max() > 1:
        return False
    return bool(np.allclose(scores.sum(axis=0), 1, atol=1e-2))


def _pair(outputs: Mapping[str, Array]) -> Boxes | None:
    """Recognise one output of boxes [n, 4] beside one of scores [n, classes]."""
    boxes = next((name for name, values in outputs.items() if values.ndim == 2 and values.shape[1] == 4 and len(values)), None)
    if boxes is None:
        return None
    scores = next(name for name in outputs if name != boxes)
    if outputs[scores].ndim != 2 or len(outputs[scores]) != len(outputs[boxes]):
        return None
    values = outputs[scores]
    summed = np.allclose(values.sum(axis=1), 1, atol=1e-2)  # of a softmax
    activation = "none" if summed else _activation(values)
    numbers = outputs[boxes]
    relative = float(np.percentile(np.abs(numbers), 99)) <= 2.0
    corners = bool((numbers[:, 2:] >= numbers[:, :2] - 1e-3).mean() > 0.9)
    return _common(
        boxes=boxes,
        scores=scores,
        encoding="xyxy" if corners else "cxcywh",
        unit="relative" if relative else "pixels",
        activation=activation,
        background=0 if summed else None,
    )


def _detr(scores: str, boxes: str) -> Boxes:
    return _common(
        boxes=boxes, scores=scores, encoding="cxcywh", unit="relative", activation="softmax", background=-1, iou_threshold=None
    )


def _activation(values: Array) -> str:
    """Return what makes scores of values: nothing where they lie in 0…1 already."""
    return "none" if float(values.min(initial=0)) >= 0 and float(values.max(initial=0)) <= 1.0 + 1e-4 else "sigmoid"


def _common(**given: Any) -> Boxes:
    """Return the options, with the thresholds that average precision is measured with: all boxes count, by their score."""
    return Boxes(**{"score_threshold": 0.001, "iou_threshold": 0.65, **given})
