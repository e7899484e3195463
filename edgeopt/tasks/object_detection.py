"""Object detection: boxes with a class and a score.

The metric is the average precision of the COCO challenge (mean over classes and over IoU thresholds 0.50, 0.55 … 0.95, at most
100 boxes per image), which pycocotools matches; the matches of each image are kept, so that images can be drawn again for an
interval without matching again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgeopt.batches import Array, Batch
from edgeopt.data.annotations import BoxTruth
from edgeopt.errors import DataError, RecipeError
from edgeopt.tasks import decoding
from edgeopt.tasks.average_precision import Detections, average_precision, overlap, summaries
from edgeopt.tasks.detector_forms import recognised
from edgeopt.tasks.metric import Measured, Metric
from edgeopt.tasks.task import LossSum, SampleOutputs, SoftForm, SoftLabels, Task

if TYPE_CHECKING:
    from torch import Tensor

    from edgeopt.data.samples import Samples
    from edgeopt.tasks.decoding import Decoding

_OVERLAP = 0.5  # of two boxes that are the same answer
_SCORE = 0.3  # of boxes that are compared between models


@dataclass(frozen=True)
class ObjectDetection(Task):
    """Object detection: average precision; detectors bring their own loss on labels."""

    name: ClassVar[str] = "object-detection"
    metric: ClassVar[Metric] = Metric("AP")
    wanted: ClassVar[str] = "boxes with classes per image"
    boxes: decoding.Boxes | None = None
    """How outputs become boxes; None: recognised from their shapes and values."""

    def labels(self, samples: Samples, indices: Sequence[int], inputs: Batch) -> dict[str, Array]:
        """Return all boxes in pixels of the model's input, their classes, and the sample of the batch that each is from.

        Beside them the inputs' sizes (width, height), and the number of classes (0: not known).
        """
        rows = [(_truth(samples, index), _place(samples, index)) for index in indices]
        numbers = [np.full(len(truth.classes), place, np.int64) for place, (truth, _) in enumerate(rows)]
        placed = [_to_input(truth.boxes, place) for truth, place in rows]
        return {
            "boxes": np.concatenate(placed).astype(np.float32).reshape(-1, 4),
            "classes": np.concatenate([truth.classes for truth, _ in rows]),
            "images": np.concatenate(numbers),
            "sizes": np.array([place.input_size for _, place in rows], np.float32),
            "kinds": np.array(len(samples.names)),
        }

    def loss(self, outputs: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> LossSum:
        """Return the loss that the model itself gives as its output ``loss``, or that of a set of boxes (`set_loss`).

        Raises:
            DataError: it gives neither; each detector has its own assignment of boxes.
        """
        if {"logits", "pred_boxes"} <= set(outputs):
            return LossSum(_set_loss(outputs["logits"], outputs["pred_boxes"], labels), len(outputs["logits"]))
        if "loss" not in outputs:
            raise DataError(
                f"{self.name}: every detector has a loss of its own, and this model gives none as its output 'loss'; "
                "train it on soft labels and feature maps, or name a task of your own as module:callable"
            )
        return LossSum(outputs["loss"].sum(), outputs["loss"].numel())

    def soft_labels(self) -> tuple[SoftLabels, ...]:
        """Return the boxes and scores where it is known how they are written (`fitted`), else the first output's numbers."""
        form = self.boxes
        if form is None:
            return (SoftLabels(form=SoftForm.VALUE),)
        return (SoftLabels(form.output or form.scores or SoftLabels.output, SoftForm.BOXES, boxes=form),)

    def decoding(self, names: Sequence[str] = ()) -> Decoding:
        """Return how the outputs become answers, if it is known."""
        return self.boxes or decoding.Arrays()

    def decoded(self, form: Decoding) -> ObjectDetection:
        """Return the task with boxes written in this way."""
        if not isinstance(form, decoding.Boxes):
            raise RecipeError(f"the task {self.name} takes a decoding of kind 'boxes', not '{form.kind}'")
        return replace(self, boxes=form)

    def fitted(self, outputs: Mapping[str, Array], samples: Samples) -> ObjectDetection:
        """Return the task with the boxes of a model that gives `outputs` for the first sample recognised.

        Raises:
            DataError: they are not; the message says how to describe them.
        """
        if self.boxes is not None:
            return self
        found = recognised(outputs, _place(samples, 0).input_size, len(samples.names) or None)
        if found is None:
            shapes = ", ".join(f"{name} {list(np.shape(values))}" for name, values in outputs.items())
            raise DataError(
                f"these outputs are not boxes of a known kind: {shapes}; describe them in a file: --decoding FILE.toml "
                "(docs/how-to/tasks.md)"
            )
        return replace(self, boxes=found)

    def answer(self, outputs: SampleOutputs, sample: Batch, about: Any = None) -> Detections:
        """Return the boxes in the image's pixels, best first; `about` says where the image lies in the model's input."""
        if about is None:
            about = _whole_input(sample)
        form = self.boxes or recognised(outputs, about.input_size, None)
        if form is None:
            raise DataError("these outputs are not boxes of a known kind; describe them: --decoding FILE.toml")
        batch = {name: np.asarray(values)[None] for name, values in outputs.items()}
        code = decoding.inference("boxes")
        options = form.model_dump(mode="json")
        numbers, scores = code.rows_and_scores(options, batch)
        found = code.detections(options, numbers[0], scores[0], about)
        return Detections(
            np.array([box for _, _, box in found], np.float64).reshape(-1, 4),
            np.array([score for _, score, _ in found], np.float64),
            np.array([number for number, _, _ in found], np.int64),
        )

    def measure(self, answers: Sequence[Detections], samples: Samples) -> Measured:
        """Return the average precision over all IoU thresholds."""
        return summaries(average_precision(answers, [_truth(samples, index) for index in range(len(samples))]))[0]

    def further(self, answers: Sequence[Detections], samples: Samples) -> tuple[Measured, ...]:
        """Return the average precision at an IoU of 0.5."""
        return summaries(average_precision(answers, [_truth(samples, index) for index in range(len(samples))]))[1:]

    def same(self, ours: Detections, theirs: Detections) -> bool:
        """Return whether both have the same boxes with a score of at least 0.3: class, and an overlap of half."""
        return _shared(ours, theirs) == (1.0, True)

    def agreement(self, ours: Sequence[Detections], theirs: Sequence[Detections]) -> float | None:
        """Return the F1 of the boxes of one model as if the other's were the truth."""
        counts = np.array([_counts(one, other) for one, other in zip(ours, theirs, strict=True)], np.float64).sum(axis=0)
        return float(2 * counts[0] / (counts[1] + counts[2])) if counts[1] + counts[2] else 1.0


def _set_loss(logits: Tensor, boxes: Tensor, labels: Mapping[str, Tensor]) -> Tensor:
    """Return the loss of transformers' detectors, whose boxes are shares of the input."""
    import torch

    from edgeopt.tasks.set_loss import set_loss

    wanted = []
    for number, size in enumerate(labels["sizes"]):
        own = labels["images"] == number
        low, high = labels["boxes"][own, :2] / size, labels["boxes"][own, 2:] / size
        wanted.append((labels["classes"][own], torch.cat([(low + high) / 2, high - low], dim=1)))
    kinds = int(labels["kinds"])
    return set_loss(logits, boxes, wanted, nothing=not kinds or logits.shape[-1] > kinds)


def _counts(ours: Detections, theirs: Detections) -> tuple[int, int, int]:
    """Return matched, found and wanted boxes; each box is matched once, the best first."""
    one, other = ours.above(_SCORE), theirs.above(_SCORE)
    free = np.ones(len(other.scores), bool)
    matched = 0
    overlaps = overlap(one.boxes, other.boxes)
    for row in range(len(one.scores)):
        fits = np.flatnonzero(free & (other.classes == one.classes[row]) & (overlaps[row] >= _OVERLAP))
        if fits.size:
            free[fits[overlaps[row, fits].argmax()]] = False
            matched += 1
    return matched, len(one.scores), len(other.scores)


def _shared(ours: Detections, theirs: Detections) -> tuple[float, bool]:
    matched, found, wanted = _counts(ours, theirs)
    return (1.0 if not found + wanted else 2 * matched / (found + wanted)), found == wanted


def _truth(samples: Samples, index: int) -> BoxTruth:
    truth = None if samples.annotations is None else samples.annotations[index]
    if not isinstance(truth, BoxTruth):
        raise DataError(f"sample {index}: its label is not a list of boxes")
    return truth


def _place(samples: Samples, index: int) -> Any:
    return samples.contexts[index] if samples.contexts is not None else _whole_input(samples[index])


def _whole_input(sample: Batch) -> Any:
    """Return the placement of an image that is the model's input itself."""
    image = max(sample.values(), key=lambda array: array.size)
    if image.ndim < 2:
        raise DataError(f"object-detection needs images, and a sample's largest input has shape {list(image.shape)}")
    shape = image.shape[-2:] if image.ndim < 3 or image.shape[-3] in {1, 3} else image.shape[-3:-1]
    size = (int(shape[1]), int(shape[0]))
    return decoding.inference("decoding").Placement(size, size)


def _to_input(boxes: NDArray[np.float32], place: Any) -> NDArray[np.float32]:
    scale, offset = np.tile(place.scale, 2), np.tile(place.offset, 2)
    return np.asarray(boxes * scale + offset, np.float32)
