"""Multi-label classification: any number of some classes, each decided alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgeopt.batches import Array, Batch
from edgeopt.errors import DataError
from edgeopt.tasks import decoding
from edgeopt.tasks.metric import Measured, Metric, of_sums
from edgeopt.tasks.task import LossSum, SampleOutputs, SoftForm, SoftLabels, Task, output_named, share_of_same

if TYPE_CHECKING:
    from torch import Tensor

    from edgeopt.data.samples import Samples


@dataclass(frozen=True)
class MultiLabel(Task):
    """Multi-label classification: binary cross-entropy, F1 over all classes and samples (micro)."""

    name: ClassVar[str] = "multi-label-classification"
    metric: ClassVar[Metric] = Metric("F1")
    wanted: ClassVar[str] = "a row of zeros and ones per sample, one per class"

    def labels(self, samples: Samples, indices: Sequence[int], inputs: Batch) -> dict[str, Array]:
        """Return the classes as float32 [N, classes] of zeros and ones."""
        return {"labels": _rows(samples, indices)}

    def loss(self, outputs: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> LossSum:
        """Return the binary cross-entropy of the logits [N, classes], summed over samples and classes."""
        import torch.nn.functional as F

        wanted = labels["labels"]
        return LossSum(F.binary_cross_entropy_with_logits(outputs["logits"], wanted, reduction="sum"), wanted.numel())

    def soft_labels(self) -> tuple[SoftLabels, ...]:
        """Return the logits, each class alone."""
        return (SoftLabels(form=SoftForm.SIGMOID),)

    def decoding(self, names: Sequence[str] = ()) -> decoding.Decoding:
        """Return how the outputs become answers."""
        return decoding.MultiLabel()

    def answer(self, outputs: SampleOutputs, sample: Batch, about: Any = None) -> Array:
        """Return which classes have a positive logit, bool [classes]."""
        logits = output_named(outputs, "logits")
        if logits.ndim != 1:
            raise DataError(f"the model's output has shape {list(logits.shape)} for one sample; {self.name} needs [classes]")
        return np.asarray(logits > 0)

    def measure(self, answers: Sequence[Array], samples: Samples) -> Measured:
        """Return the F1 over all classes and samples."""
        wanted = _rows(samples, range(len(samples))) > 0
        found = _same_classes(answers, wanted)
        counts = np.stack([(found & wanted).sum(axis=1), found.sum(axis=1), wanted.sum(axis=1)], axis=1)
        return of_sums(self.metric, counts.astype(np.float64), f1_of_counts)

    def further(self, answers: Sequence[Array], samples: Samples) -> tuple[Measured, ...]:
        """Return the share of samples whose classes are all right."""
        from edgeopt.tasks.metric import share_of_right

        wanted = _rows(samples, range(len(samples))) > 0
        return (share_of_right(Metric("exact match"), np.asarray((_same_classes(answers, wanted) == wanted).all(axis=1))),)

    def agreement(self, ours: Sequence[Array], theirs: Sequence[Array]) -> float | None:
        """Return the share of decisions, one per sample and class, that are the same; None: the models have other classes."""
        return share_of_same(ours, theirs)


def f1_of_counts(counts: Array) -> float:
    """Return F1 of (true positives, found, wanted); 0 where there is nothing to find and nothing was found."""
    return float(2 * counts[0] / max(counts[1] + counts[2], 1e-12))


def _rows(samples: Samples, indices: Sequence[int]) -> Array:
    """Return the classes of samples, float32 [samples, classes].

    Raises:
        DataError: a label is no row of zeros and ones, or has other classes than the first sample's.
    """
    rows = [_row(samples, index) for index in indices]
    classes = len(_row(samples, 0))
    for index, row in zip(indices, rows, strict=True):
        if len(row) != classes:
            raise DataError(f"sample {index}: its label has {len(row)} classes, that of sample 0 has {classes}")
    return np.stack(rows)


def _row(samples: Samples, index: int) -> Array:
    row = None if samples.annotations is None else np.asarray(samples.annotations[index])
    if row is None or row.ndim != 1 or not np.isin(row, (0, 1)).all():
        raise DataError(f"sample {index}: its label is not a row of zeros and ones, one per class")
    return row.astype(np.float32)


def _same_classes(answers: Sequence[Array], wanted: Array) -> Array:
    found = np.stack(answers)
    if found.shape != wanted.shape:
        raise DataError(f"the labels have {wanted.shape[1]} classes, the model {found.shape[1]}; number them as the model does")
    return found
