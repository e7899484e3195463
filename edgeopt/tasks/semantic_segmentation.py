"""Semantic segmentation: a class for every pixel.

The metric is the mean over classes of intersection over union (Everingham et al. 2010, "The Pascal Visual Object Classes (VOC)
Challenge", section 4.3), counted over all images; pixels with the label 255 or -100 do not count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgeopt.batches import Array, Batch
from edgeopt.data.annotations import IGNORED
from edgeopt.errors import DataError
from edgeopt.tasks import decoding
from edgeopt.tasks.metric import Measured, Metric, of_sums
from edgeopt.tasks.task import LossSum, SampleOutputs, SoftLabels, Task, output_named

if TYPE_CHECKING:
    from torch import Tensor

    from edgeopt.data.samples import Samples

_EDGE = 255


@dataclass(frozen=True)
class SemanticSegmentation(Task):
    """Semantic segmentation: cross-entropy per pixel, mean IoU."""

    name: ClassVar[str] = "semantic-segmentation"
    metric: ClassVar[Metric] = Metric("mIoU")
    wanted: ClassVar[str] = "a map of classes per image"

    def labels(self, samples: Samples, indices: Sequence[int], inputs: Batch) -> dict[str, Array]:
        """Return the classes of the pixels of the model's input, int64 [N, height, width]; -100 outside the images."""
        maps = []
        for index in indices:
            truth, place = _truth(samples, index), None if samples.contexts is None else samples.contexts[index]
            maps.append(truth if place is None else _placed(truth, place))
        return {"labels": np.stack(maps)}

    def loss(self, outputs: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> LossSum:
        """Return the cross-entropy of the logits [N, classes, h, w], enlarged to the labels, summed over pixels."""
        import torch.nn.functional as F

        wanted = labels["labels"]
        logits = F.interpolate(outputs["logits"], size=wanted.shape[-2:], mode="bilinear", align_corners=False)
        return LossSum(F.cross_entropy(logits, wanted, reduction="sum", ignore_index=IGNORED), (wanted != IGNORED).sum())

    def soft_labels(self) -> tuple[SoftLabels, ...]:
        """Return the logits of each place."""
        return (SoftLabels(transposed=True),)

    def decoding(self, names: Sequence[str] = ()) -> decoding.Decoding:
        """Return how the outputs become answers."""
        return decoding.Segmentation()

    def answer(self, outputs: SampleOutputs, sample: Batch, about: Any = None) -> NDArray[np.uint16]:
        """Return the class of every pixel of the image; of the output's own grid where the image's size is not known."""
        values = output_named(outputs, "logits")
        if values.ndim not in {2, 3}:
            raise DataError(f"the output has shape {list(values.shape)} for one image; {self.name} needs [classes, h, w]")
        if about is not None:
            return np.asarray(decoding.inference("decoding").class_map(values, about, True), np.uint16)
        return np.asarray(values.argmax(axis=0) if values.ndim == 3 else values, np.uint16)

    def measure(self, answers: Sequence[Array], samples: Samples) -> Measured:
        """Return the mean IoU over the classes that occur in the labels or in the answers."""
        truths = [_truth(samples, index) for index in range(len(samples))]
        classes = 1 + max(
            int(max(truth.max(initial=0), own.max(initial=0))) for truth, own in zip(truths, answers, strict=True)
        )
        counts = np.array([_counts(own, truth, classes) for own, truth in zip(answers, truths, strict=True)], np.float64)
        return of_sums(self.metric, counts, _mean_iou)

    def further(self, answers: Sequence[Array], samples: Samples) -> tuple[Measured, ...]:
        """Return the share of pixels with the right class."""
        rows = []
        for index, own in enumerate(answers):
            truth = _truth(samples, index)
            counted = truth != IGNORED
            rows.append([(_fitting(own, truth) == truth)[counted].sum(), counted.sum()])
        return (of_sums(Metric("pixel accuracy"), np.array(rows, np.float64), lambda sums: float(sums[0] / max(sums[1], 1))),)

    def agreement(self, ours: Sequence[Array], theirs: Sequence[Array]) -> float | None:
        """Return the share of pixels with the same class."""
        same = [(_fitting(one, other) == other).mean() for one, other in zip(ours, theirs, strict=True)]
        return float(np.mean(same))


def _counts(own: Array, truth: Array, classes: int) -> list[float]:
    """Return the intersections, then the unions, of each class in one image."""
    counted = truth != IGNORED
    found, wanted = _fitting(own, truth)[counted].astype(np.int64), truth[counted]
    shared = np.bincount(wanted[found == wanted], minlength=classes)
    both = np.bincount(found, minlength=classes) + np.bincount(wanted, minlength=classes)
    return [*shared.tolist(), *(both - shared).tolist()]


def _mean_iou(sums: Array) -> float:
    shared, union = sums[: len(sums) // 2], sums[len(sums) // 2 :]
    there = union > 0
    return float((shared[there] / union[there]).mean()) if there.any() else 0.0


def _fitting(own: Array, truth: Array) -> Array:
    """Return the answer on the grid of the truth, by the nearest pixel."""
    if own.shape == truth.shape:
        return own
    rows, columns = ((np.arange(size) + 0.5) * have / size for size, have in zip(truth.shape, own.shape, strict=True))
    return np.asarray(own[rows.astype(np.int64)][:, columns.astype(np.int64)])


def _truth(samples: Samples, index: int) -> NDArray[np.int64]:
    truth = None if samples.annotations is None else np.asarray(samples.annotations[index])
    if truth is None or truth.ndim != 2 or truth.dtype.kind not in "iu":
        raise DataError(f"sample {index}: its label is not a map of classes")
    return np.where(truth == _EDGE, IGNORED, truth.astype(np.int64))


def _placed(truth: NDArray[np.int64], place: Any) -> NDArray[np.int64]:
    """Return the map in the geometry of the model's input."""
    width, height = place.input_size
    columns = np.floor((np.arange(width) + 0.5 - place.offset[0]) / place.scale[0]).astype(np.int64)
    rows = np.floor((np.arange(height) + 0.5 - place.offset[1]) / place.scale[1]).astype(np.int64)
    inside = ((rows >= 0) & (rows < truth.shape[0]))[:, None] & ((columns >= 0) & (columns < truth.shape[1]))
    picked = truth[rows.clip(0, truth.shape[0] - 1)][:, columns.clip(0, truth.shape[1] - 1)]
    return np.where(inside, picked, IGNORED)
