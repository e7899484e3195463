"""COCO's average precision, with the matches of each image kept.

pycocotools matches boxes of one image and class at each IoU threshold; what counts after that is, for each class, the boxes of
all images by falling score, and whether each was matched. Precision is read at 101 recalls, as `COCOeval.accumulate` does.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeopt.data.annotations import BoxTruth
from edgeopt.extras import need
from edgeopt.tasks.metric import Measured, Metric, Rows

_RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Detections:
    """A detector's answer: boxes [n, 4] in pixels, x0 y0 x1 y1, their scores and classes, best first."""

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    classes: NDArray[np.int64]

    def above(self, score: float) -> Detections:
        """Return the boxes with at least this score."""
        kept = self.scores >= score
        return Detections(self.boxes[kept], self.scores[kept], self.classes[kept])


@dataclass(frozen=True)
class ClassMatches:
    """The boxes of one class in all images.

    Attributes:
        image: image of each box, by falling score.
        matched: bool [thresholds, boxes].
        ignored: bool [thresholds, boxes]; boxes that lie in crowds.
        wanted: number of objects to find, by image.
    """

    image: NDArray[np.int64]
    matched: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    wanted: NDArray[np.int64]


def average_precision(answers: Sequence[Detections], truths: Sequence[BoxTruth]) -> list[ClassMatches]:
    """Return the matches of each class that has objects.

    Raises:
        MachineError: the package pycocotools is not installed.
    """
    need("pycocotools", purpose="average precision")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    classes = sorted({int(number) for truth in truths for number in truth.classes})
    with contextlib.redirect_stdout(io.StringIO()):  # (it prints its progress)
        truth, found = COCO(), COCO()
        truth.dataset = _dataset(len(truths), classes, _annotations(truths))
        found.dataset = _dataset(len(truths), classes, _results(answers))
        for one in (truth, found):
            one.createIndex()
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
    by_class: dict[int, list[Any]] = {number: [] for number in classes}
    for entry in evaluation.evalImgs:
        if entry is not None:
            by_class[int(entry["category_id"])].append(entry)
    return [_matches(entries, len(truths)) for entries in by_class.values()]


def _matches(entries: Sequence[Any], images: int) -> ClassMatches:
    wanted = np.zeros(images, np.int64)
    for entry in entries:
        wanted[entry["image_id"]] = int((np.asarray(entry["gtIgnore"]) == 0).sum())
    image = np.concatenate([np.full(len(entry["dtScores"]), entry["image_id"], np.int64) for entry in entries])
    scores = np.concatenate([np.asarray(entry["dtScores"], np.float64) for entry in entries])
    order = np.argsort(-scores, kind="mergesort")
    matched = np.concatenate([entry["dtMatches"] for entry in entries], axis=1)[:, order] > 0
    ignored = np.concatenate([entry["dtIgnore"] for entry in entries], axis=1)[:, order].astype(bool)
    return ClassMatches(image[order], matched, ignored, wanted)


def summaries(classes: Sequence[ClassMatches]) -> tuple[Measured, Measured]:
    """Return AP over all thresholds, and AP50."""
    images = len(classes[0].wanted) if classes else 0

    def mean(rows: Rows, thresholds: slice) -> float:
        drawn = np.bincount(rows, minlength=images)
        values = [value for one in classes if (value := precision(one, drawn, thresholds)) is not None]
        return float(np.mean(values)) if values else 0.0

    return (
        Measured(Metric("AP"), images, lambda rows: mean(rows, slice(None))),
        Measured(Metric("AP50"), images, lambda rows: mean(rows, slice(0, 1))),
    )


def precision(matches: ClassMatches, drawn: NDArray[np.int64], thresholds: slice) -> float | None:
    """Return the mean precision of one class at 101 recalls and at the thresholds; None: no object to find.

    Args:
        matches: of the class.
        drawn: how often each image counts.
        thresholds: which IoU thresholds.
    """
    wanted = int((matches.wanted * drawn).sum())
    if not wanted:
        return None
    counts = drawn[matches.image]
    matched, ignored = matches.matched[thresholds], matches.ignored[thresholds]
    right = np.cumsum((matched & ~ignored) * counts, axis=1)
    wrong = np.cumsum((~matched & ~ignored) * counts, axis=1)
    recall = right / wanted
    share = right / np.maximum(right + wrong, np.spacing(1))
    envelope = np.maximum.accumulate(share[:, ::-1], axis=1)[:, ::-1]
    values = []
    for row, best in zip(recall, envelope, strict=True):
        places = np.searchsorted(row, _RECALLS, side="left")
        values.append(np.concatenate([best, [0.0]])[np.minimum(places, len(best))].mean())
    return float(np.mean(values))


def overlap(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the intersection over union of all pairs of boxes, [ours, theirs]."""
    low = np.maximum(ours[:, None, :2], theirs[None, :, :2])
    high = np.minimum(ours[:, None, 2:], theirs[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clip(0).prod(axis=1) for boxes in (ours, theirs)]
    return np.asarray(shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-12))


def _dataset(images: int, classes: Sequence[int], annotations: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "images": [{"id": number} for number in range(images)],
        "categories": [{"id": number} for number in classes],
        "annotations": annotations,
        "info": {},
    }


def _annotations(truths: Sequence[BoxTruth]) -> list[dict[str, Any]]:
    rows = [
        {
            "image_id": image,
            "category_id": int(number),
            "bbox": _corner_and_size(box),
            "area": _area(box),
            "iscrowd": int(crowd),
        }
        for image, truth in enumerate(truths)
        for box, number, crowd in zip(truth.boxes, truth.classes, truth.crowd, strict=True)
    ]
    return [{**row, "id": number} for number, row in enumerate(rows, 1)]


def _results(answers: Sequence[Detections]) -> list[dict[str, Any]]:
    rows = [
        {
            "image_id": image,
            "category_id": int(number),
            "bbox": _corner_and_size(box),
            "area": _area(box),
            "score": float(score),
        }
        for image, answer in enumerate(answers)
        for box, score, number in zip(answer.boxes, answer.scores, answer.classes, strict=True)
    ]
    return [{**row, "id": number, "iscrowd": 0} for number, row in enumerate(rows, 1)]


def _corner_and_size(box: Any) -> list[float]:
    return [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]


def _area(box: Any) -> float:
    return float(max(box[2] - box[0], 0) * max(box[3] - box[1], 0))
