"""Regression: one number per sample, such as how alike two sentences are that a model reads together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgeopt.batches import Array, Batch
from edgeopt.errors import DataError
from edgeopt.tasks import decoding
from edgeopt.tasks.correlation import SPEARMAN, correlations, spearman
from edgeopt.tasks.metric import Measured, Metric, Scale, of_sums
from edgeopt.tasks.task import LossSum, SampleOutputs, SoftForm, SoftLabels, Task, output_named

if TYPE_CHECKING:
    from torch import Tensor

    from edgeopt.data.samples import Samples

_SAME = 1e-2  # of the spread of the answers


@dataclass(frozen=True)
class Regression(Task):
    """Regression: squared error, Spearman's correlation."""

    name: ClassVar[str] = "regression"
    metric: ClassVar[Metric] = SPEARMAN
    wanted: ClassVar[str] = "a number per sample"

    def labels(self, samples: Samples, indices: Sequence[int], inputs: Batch) -> dict[str, Array]:
        """Return the numbers, float32 [N]."""
        return {"labels": numbers_of(samples)[list(indices)].astype(np.float32)}

    def loss(self, outputs: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> LossSum:
        """Return the squared error of the output [N, 1], summed over samples."""
        wanted = labels["labels"]
        found = outputs["logits"].reshape(len(wanted), -1)[:, 0].float()
        return LossSum(((found - wanted) ** 2).sum(), len(wanted))

    def soft_labels(self) -> tuple[SoftLabels, ...]:
        """Return the numbers."""
        return (SoftLabels(form=SoftForm.VALUE),)

    def decoding(self, names: Sequence[str] = ()) -> decoding.Decoding:
        """Return how the outputs become answers."""
        return decoding.Value()

    def answer(self, outputs: SampleOutputs, sample: Batch, about: Any = None) -> float:
        """Return the model's one number."""
        value = output_named(outputs, "logits")
        if value.size != 1:
            raise DataError(f"the model's output has shape {list(value.shape)} for one sample; {self.name} needs one number")
        return float(value.reshape(-1)[0])

    def measure(self, answers: Sequence[float], samples: Samples) -> Measured:
        """Return Spearman's correlation with the labels."""
        return correlations(np.asarray(answers, np.float64), numbers_of(samples))[0]

    def further(self, answers: Sequence[float], samples: Samples) -> tuple[Measured, ...]:
        """Return Pearson's correlation and the root of the mean squared error."""
        found, wanted = np.asarray(answers, np.float64), numbers_of(samples)
        squares = np.stack([np.square(found - wanted), np.ones(len(found))], axis=1)
        error = Metric("RMSE", Scale.RATIO, larger_is_better=False)
        return correlations(found, wanted)[1], of_sums(error, squares, lambda sums: float(np.sqrt(sums[0] / sums[1])))

    def agreement(self, ours: Sequence[float], theirs: Sequence[float]) -> float | None:
        """Return Spearman's correlation of both models' numbers."""
        return spearman(np.asarray(ours, np.float64), np.asarray(theirs, np.float64))

    def changed(self, ours: Sequence[float], theirs: Sequence[float]) -> int:
        """Return how many numbers are more than a hundredth of their spread apart."""
        found, other = np.asarray(ours), np.asarray(theirs)
        return int((np.abs(found - other) > _SAME * float(np.ptp(other))).sum())


def numbers_of(samples: Samples) -> NDArray[np.float64]:
    """Return the labels as numbers; classes of samples count as numbers, too."""
    values = samples.annotations if samples.annotations is not None else samples.labels
    try:
        numbers = np.asarray([] if values is None else values, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"the labels are not numbers: {error}") from error
    if numbers.ndim != 1 or len(numbers) != len(samples) or not np.isfinite(numbers).all():
        raise DataError("the labels are not one finite number per sample")
    return numbers
