"""A task of the user's own, out of plain functions; named as ``module:callable``.

def my_task():
    return Custom(metric=share_of_close_answers, loss=huber, decode=lambda outputs: outputs["y"])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgeopt.batches import Array, Batch, concatenate
from edgeopt.errors import DataError, RecipeError
from edgeopt.tasks.metric import Measured, Metric
from edgeopt.tasks.task import Answer, LossSum, SampleOutputs, SoftForm, SoftLabels, Task

if TYPE_CHECKING:
    from torch import Tensor

    from edgeopt.data.samples import Samples


@dataclass(frozen=True)
class Custom(Task):
    """A task whose metric, loss and decoding are functions."""

    name: ClassVar[str] = "custom"
    score: Callable[[Sequence[Answer], Sequence[Any]], float]
    """(answers, labels) of any samples, with repeats → the metric."""
    metric: Metric = field(default_factory=lambda: Metric("score"))  # type: ignore[misc]  # (here it belongs to the instance)
    """Name, direction and scale of the metric."""
    loss_function: Callable[[Mapping[str, Tensor], Tensor], Tensor] | None = None
    """(outputs, labels of the batch) → the mean loss; None: only soft labels are learned."""
    decode: Callable[[SampleOutputs], Answer] | None = None
    """One sample's outputs → its answer; None: the first output."""
    soft: SoftForm = SoftForm.VALUE
    """How the first output is a soft label."""

    def is_labelled(self, samples: Samples) -> bool:
        """Return whether the samples have any labels."""
        return samples.annotations is not None or samples.labels is not None

    def labels(self, samples: Samples, indices: Sequence[int], inputs: Batch) -> dict[str, Array]:
        """Return the labels of the batch as one array, padded with 0 where they are ragged."""
        values = _labels(samples)
        return {"labels": concatenate([np.asarray(values[index]) for index in indices])}

    def loss(self, outputs: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> LossSum:
        """Return the mean that the user's function gives, times the samples."""
        if self.loss_function is None:
            raise RecipeError("the task has no loss on labels; give Custom(loss_function=…), or learn from soft labels alone")
        count = len(labels["labels"])
        return LossSum(self.loss_function(outputs, labels["labels"]) * count, count)

    def soft_labels(self) -> tuple[SoftLabels, ...]:
        """Return the logits, in the form that the user states."""
        return (SoftLabels(form=self.soft),)

    def answer(self, outputs: SampleOutputs, sample: Batch, about: Any = None) -> Answer:
        """Return what the user's function makes of the outputs."""
        return self.decode(outputs) if self.decode else np.asarray(next(iter(outputs.values())))

    def measure(self, answers: Sequence[Answer], samples: Samples) -> Measured:
        """Return the user's metric."""
        values = _labels(samples)

        def compute(rows: Array) -> float:
            return float(self.score([answers[row] for row in rows], [values[row] for row in rows]))

        return Measured(self.metric, len(answers), compute)

    def same(self, ours: Answer, theirs: Answer) -> bool:
        """Return whether two answers are equal, numbers to six digits."""
        one, other = np.asarray(ours), np.asarray(theirs)
        if one.dtype.kind == "f" and one.shape == other.shape:
            return bool(np.allclose(one, other, rtol=1e-6, atol=1e-6))
        return bool(np.array_equal(one, other))


def _labels(samples: Samples) -> Sequence[Any]:
    values = samples.annotations if samples.annotations is not None else samples.labels
    if values is None:
        raise DataError("the samples have no labels, and the task needs them")
    return list(values)
