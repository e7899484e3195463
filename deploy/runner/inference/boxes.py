"""Detectors: rows of box numbers and scores become boxes in the pixels of the image.

A detector differs from others in how a box is written (`encoding`), in what its numbers are relative to (`unit`), and in how a
score is made. Decode, keep what is above the score threshold, map back through the placement of the image in the model's input,
then suppress: of two boxes of one class that overlap by more than `iou_threshold` the one with the lower score is dropped.

Encodings of the four numbers of a row:
    xyxy, xywh, cxcywh   corners; corner and size; centre and size
    grid                 YOLOX: centre = (value + cell) · stride, size = exp(value) · stride; cells of each stride, row by row
    tanh-grid            FastestDet: centre = (tanh(value) + cell) / cells, size = sigmoid(value), relative
    anchors              SSD: centre = anchor + value · variance₀ · size, size = anchor · exp(value · variance₁)
    distances            FCOS: left, top, right, bottom from the middle of the cell, in strides
"""

from __future__ import annotations

from typing import Any, List, Mapping, Tuple

import numpy as np

Detection = Tuple[int, float, List[float]]


def rows_and_scores(decoding: Mapping[str, Any], outputs: Mapping[str, Any]) -> Tuple[Any, Any]:
    """Return box numbers [batch, rows, 4] and class scores [batch, rows, classes] of a detector's outputs."""
    if decoding["boxes"] is not None:
        numbers = _table(outputs[decoding["boxes"]], decoding["transposed"])
        scores = _table(outputs[decoding["scores"]], decoding["transposed"])
        return numbers, _activated(scores, decoding["activation"])
    name = decoding["output"]
    table = _table(outputs[name] if name is not None else next(iter(outputs.values())), decoding["transposed"])
    first = 1 if decoding["order"] == "objectness-box-classes" else 0
    numbers = table[..., first : first + 4]
    if not decoding["objectness"]:
        return numbers, _activated(table[..., 4:], decoding["activation"])
    objectness = table[..., :1] if first else table[..., 4:5]
    scores = _activated(table[..., 5:], decoding["activation"]).astype(np.float64)
    object_power, class_power = decoding["powers"]
    objectness = _activated(objectness, decoding["objectness_activation"]).astype(np.float64)
    return numbers, objectness**object_power * scores**class_power


def _table(values: Any, transposed: bool) -> Any:
    """Return float64 [batch, rows, columns]; `transposed` ones have the columns first, and maps [batch, columns, h, w]."""
    values = np.asarray(values, np.float64)
    if transposed:
        return values.reshape(values.shape[0], values.shape[1], -1).transpose(0, 2, 1)
    return values.reshape(values.shape[0], -1, values.shape[-1])


def _activated(values: Any, activation: str) -> Any:
    if activation == "sigmoid":
        return 0.5 * (1.0 + np.tanh(0.5 * values))
    if activation == "softmax":
        powers = np.exp(values - values.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)
    return values


def detections(decoding: Mapping[str, Any], numbers: Any, scores: Any, place: Any) -> List[Detection]:
    """Return (class, score, [x0, y0, x1, y1] in the image's pixels) of one image, best first.

    Args:
        decoding: the options of the decoding.
        numbers: [rows, 4].
        scores: [rows, classes].
        place: the `Placement` of the image in the model's input.
    """
    classes = np.array(scores, np.float64)
    if decoding["background"] is not None:
        classes[:, decoding["background"]] = -1.0
    if decoding["one_class_per_box"]:
        best = classes.argmax(axis=1)
        rows = np.flatnonzero(classes[np.arange(len(best)), best] >= decoding["score_threshold"])
        found = best[rows]
    else:
        rows, found = np.nonzero(classes >= decoding["score_threshold"])
    kept = classes[rows, found]
    corners = to_image(corners_of(decoding, numbers, place.input_size)[rows], place)
    order = np.argsort(-kept, kind="stable")
    chosen = suppressed(corners[order], found[order], decoding)
    picked = [int(order[k]) for k in chosen][: decoding["max_detections"]]
    return [(int(found[k]), float(kept[k]), [float(value) for value in corners[k]]) for k in picked]


def corners_of(decoding: Mapping[str, Any], numbers: Any, input_size: Tuple[int, int]) -> Any:
    """Return corners [rows, 4] in pixels of the model's input."""
    values = np.asarray(numbers, np.float64)
    width, height = input_size
    whole = np.array([width, height, width, height], np.float64)
    encoding = decoding["encoding"]
    if encoding == "grid":
        cells, stride = grid(decoding["strides"], input_size)
        return _from_centre((values[:, :2] + cells) * stride, np.exp(values[:, 2:]) * stride)
    if encoding == "distances":
        cells, stride = grid(decoding["strides"], input_size)
        middle = (cells + 0.5) * stride
        return np.concatenate([middle - values[:, :2] * stride, middle + values[:, 2:] * stride], axis=1)
    if encoding == "tanh-grid":
        cells, stride = grid(decoding["strides"], input_size)
        size = _activated(values[:, 2:], "sigmoid") * whole[:2]
        return _from_centre((np.tanh(values[:, :2]) + cells) * stride, size)
    if encoding == "anchors":
        anchors = np.asarray(decoding["anchors"], np.float64)
        near, far = decoding["variances"]
        centre = anchors[:, :2] + values[:, :2] * near * anchors[:, 2:]
        corners = _from_centre(centre, anchors[:, 2:] * np.exp(values[:, 2:] * far))
    elif encoding == "cxcywh":
        corners = _from_centre(values[:, :2], values[:, 2:])
    elif encoding == "xywh":
        corners = np.concatenate([values[:, :2], values[:, :2] + values[:, 2:]], axis=1)
    else:
        corners = values
    return corners * whole if decoding["unit"] == "relative" else corners


def _from_centre(centre: Any, size: Any) -> Any:
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1)


def grid(strides: Any, input_size: Tuple[int, int]) -> Tuple[Any, Any]:
    """Return the column and row [rows, 2] and the stride [rows, 1] of every cell, stride after stride, row by row."""
    cells, sizes = [], []
    for stride in strides:
        columns, rows = -(-input_size[0] // stride), -(-input_size[1] // stride)
        y, x = np.mgrid[0:rows, 0:columns]
        cells.append(np.stack([x.ravel(), y.ravel()], axis=1))
        sizes.append(np.full((rows * columns, 1), float(stride)))
    return np.concatenate(cells).astype(np.float64), np.concatenate(sizes)


def to_image(corners: Any, place: Any) -> Any:
    """Return corners in pixels of the image, within it, from those in pixels of the model's input."""
    offset, scale = np.array([*place.offset, *place.offset]), np.array([*place.scale, *place.scale])
    limit = np.array([*place.size, *place.size], np.float64)
    return np.clip((corners - offset) / scale, 0.0, limit)


def suppressed(corners: Any, classes: Any, decoding: Mapping[str, Any]) -> List[int]:
    """Return the places of the boxes that stay; `corners` come best first."""
    threshold = decoding["iou_threshold"]
    if threshold is None:
        return list(range(len(corners)))
    area = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    dropped = np.zeros(len(corners), bool)
    kept: List[int] = []
    for index in range(len(corners)):
        if dropped[index]:
            continue
        kept.append(index)
        if len(kept) >= decoding["max_detections"]:
            break
        overlap = iou(corners[index], corners[index + 1 :], area[index], area[index + 1 :]) > threshold
        if decoding["per_class"]:
            overlap &= classes[index + 1 :] == classes[index]
        dropped[index + 1 :] |= overlap
    return kept


def iou(box: Any, others: Any, area: Any, areas: Any) -> Any:
    """Return intersection over union of one box with others."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    return shared / np.maximum(area + areas - shared, 1e-12)
