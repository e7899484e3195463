"""Single-label classification: exactly one of some classes, of a text, an image, a recording or anything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgeopt.batches import Array, Batch
from edgeopt.data.labels import check_labels, check_names, missing_classes, no_better_than_guessing
from edgeopt.errors import DataError
from edgeopt.tasks import decoding
from edgeopt.tasks.metric import Measured, Metric, share_of_right
from edgeopt.tasks.task import LossSum, SampleOutputs, SoftLabels, Task, output_named

if TYPE_CHECKING:
    from torch import Tensor

    from edgeopt.data.samples import Samples


@dataclass(frozen=True)
class ClassAnswer:
    """The class with the largest logit, of how many."""

    best: int
    classes: int


@dataclass(frozen=True)
class SingleLabel(Task):
    """Single-label classification: cross-entropy, accuracy."""

    name: ClassVar[str] = "single-label-classification"
    metric: ClassVar[Metric] = Metric("accuracy")
    wanted: ClassVar[str] = "one class per sample"

    def is_labelled(self, samples: Samples) -> bool:
        """Return whether the samples have classes."""
        return samples.labels is not None

    def labels(self, samples: Samples, indices: Sequence[int], inputs: Batch) -> dict[str, Array]:
        """Return the classes, int64 [N]."""
        if samples.labels is None:
            raise DataError(f"the samples have no labels; {self.name} needs {self.wanted}")
        return {"labels": samples.labels[list(indices)]}

    def loss(self, outputs: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> LossSum:
        """Return the cross-entropy of the logits [N, classes], summed over samples."""
        import torch.nn.functional as F

        logits, wanted = outputs["logits"], labels["labels"]
        return LossSum(F.cross_entropy(logits, wanted, reduction="sum"), len(wanted))

    def soft_labels(self) -> tuple[SoftLabels, ...]:
        """Return the logits."""
        return (SoftLabels(),)

    def decoding(self, names: Sequence[str] = ()) -> decoding.Decoding:
        """Return how the outputs become answers."""
        return decoding.Argmax()

    def answer(self, outputs: SampleOutputs, sample: Batch, about: Any = None) -> ClassAnswer:
        """Return the class with the largest of the logits [classes] of the first output."""
        logits = output_named(outputs, "logits")
        if logits.ndim != 1:
            raise DataError(
                f"the model's output has shape {list(logits.shape)} for one sample; [classes] is needed for {self.name}"
            )
        return ClassAnswer(int(logits.argmax()), len(logits))

    def measure(self, answers: Sequence[ClassAnswer], samples: Samples) -> Measured:
        """Return the accuracy."""
        if samples.labels is None:
            raise DataError(f"the samples have no labels; {self.name} needs {self.wanted}")
        if answers:
            check_names(samples.names, answers[0].classes, where=self.metric.name)
            check_labels(samples.labels, answers[0].classes, where=self.metric.name)
        best = np.array([answer.best for answer in answers], dtype=np.int64)
        return share_of_right(self.metric, np.asarray(best == samples.labels))

    def warnings(self, answers: Sequence[ClassAnswer], samples: Samples) -> tuple[str, ...]:
        """Return warnings if classes of the model have no samples, or the first model guesses."""
        if not answers or samples.labels is None:
            return ()
        classes = answers[0].classes
        right = float(np.mean([answer.best == label for answer, label in zip(answers, samples.labels, strict=True)]))
        found = (
            missing_classes(samples.labels, np.arange(classes), where="the data"),
            no_better_than_guessing(right, samples.labels),
        )
        return tuple(filter(None, found))
