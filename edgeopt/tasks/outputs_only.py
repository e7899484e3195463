"""No task is known, or there are no labels that fit one: models are judged by how far their outputs agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgeopt.batches import Array, Batch
from edgeopt.errors import DataError
from edgeopt.tasks.metric import Measured, Metric
from edgeopt.tasks.task import Answer, LossSum, SampleOutputs, SoftLabels, Task, share_of_same

if TYPE_CHECKING:
    from torch import Tensor

    from edgeopt.data.samples import Samples


_ANSWERS = tuple(map(np.dtype, (np.bool_, np.int32, np.int64)))


@dataclass(frozen=True)
class OutputsOnly(Task):
    """Nothing is known but the outputs: the best class where there are classes, else no answer."""

    name: ClassVar[str] = "generic"
    metric: ClassVar[Metric] = Metric("agreement")

    def is_labelled(self, samples: Samples) -> bool:
        """Return False: no labels are known to fit."""
        return False

    def labels(self, samples: Samples, indices: Sequence[int], inputs: Batch) -> dict[str, Array]:
        """Raise an error: there are no labels."""
        raise DataError("the task is not known, so there are no labels to learn from; name it with --task")

    def loss(self, outputs: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> LossSum:
        """Raise an error: there are no labels."""
        raise DataError("the task is not known, so there is no loss on labels; name it with --task")

    def soft_labels(self) -> tuple[SoftLabels, ...]:
        """Return the logits."""
        return (SoftLabels(),)

    def answer(self, outputs: SampleOutputs, sample: Batch, about: Any = None) -> Array | None:
        """Return the best class, of each position where the only output has one row per position; else None.

        An output of integers or truth values, as ArgMax gives them, is the answer itself.
        """
        if len(outputs) != 1:
            return None
        values = np.asarray(next(iter(outputs.values())))
        if values.dtype in _ANSWERS:
            return values
        if values.ndim == 0 or values.shape[-1] < 2 or values.ndim > 2:
            return None
        lengths = {array.shape[0] for array in sample.values() if array.ndim}
        if values.ndim == 2 and values.shape[0] not in lengths:
            return None
        return np.asarray(values.argmax(axis=-1))

    def measure(self, answers: Sequence[Answer], samples: Samples) -> Measured:
        """Raise an error: there are no labels."""
        raise DataError("the task is not known, so there is nothing to measure; name it with --task")

    def agreement(self, ours: Sequence[Answer], theirs: Sequence[Answer]) -> float | None:
        """Return the share of samples, or of positions, with the same class; None where there are no classes."""
        if any(one is None for one in (*ours, *theirs)):
            return None
        return share_of_same(ours, theirs)
