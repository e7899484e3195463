"""What a training minimises: named parts, each a sum over its elements divided by the number of elements of the *global* batch.

A mean of means is wrong where batches are split over micro-batches or processes, because their shares differ in size (tokens,
labelled samples). So an objective gives sums, and the counts beforehand; the loop adds the counts of all shares and divides
each sum by the total. Any split of a batch then gives the same gradient within float noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

Loss = Callable[[nn.Module, Mapping[str, Tensor], Sequence[int]], Tensor]
"""Maps (model, inputs, the batch's sample indices) to a scalar: the mean loss of the batch's samples."""


@dataclass(frozen=True)
class TrainBatch:
    """One share of a batch.

    Attributes:
        inputs: tensors by model input name, on the training's device.
        indices: which samples they are.
        view: number of the seeded view (`edgeopt.data.augment`); 0 without augmentation.
        partners: for each sample the one mixed into it; itself where none is.
        shares: [N], share of the sample in its mixture, 1 where none is mixed in.
        labelled: [N], 1 where the sample's label holds for this view, 0 where it may not (a part of a sentence).
    """

    inputs: Mapping[str, Tensor]
    indices: tuple[int, ...]
    view: int = 0
    partners: tuple[int, ...] = ()
    shares: Tensor | None = None
    labelled: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.indices)


class Objective(Protocol):
    """What a training minimises: Σ over its parts of weight · Σ sums / Σ counts."""

    @property
    def weights(self) -> Mapping[str, float]:
        """The weight of each part."""
        ...

    @property
    def learned(self) -> nn.Module | None:
        """What is trained along with the model and not kept, such as projections."""
        ...

    def counts(self, batch: TrainBatch) -> Mapping[str, float]:
        """Return by part the number of elements that `sums` adds up for this share of a batch."""
        ...

    def sums(self, model: nn.Module, batch: TrainBatch) -> Mapping[str, Tensor]:
        """Run `model` and return by part the sum of the loss over its elements, with its graph."""
        ...


@dataclass(frozen=True)
class MeanLoss:
    """An objective of one part: a function that returns the mean loss of a batch's samples."""

    function: Loss
    name: str = "loss"
    learned: nn.Module | None = None
    weights: Mapping[str, float] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", {self.name: 1.0})

    def counts(self, batch: TrainBatch) -> Mapping[str, float]:
        """Return the number of samples."""
        return {self.name: float(len(batch))}

    def sums(self, model: nn.Module, batch: TrainBatch) -> Mapping[str, Tensor]:
        """Return the mean loss times the number of samples."""
        return {self.name: self.function(model, batch.inputs, batch.indices) * len(batch)}
