"""Training on hard labels: the loss of classifiers, and a training with the hard loss alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeopt.data.labels import check_labels
from edgeopt.data.samples import Samples
from edgeopt.errors import DataError
from edgeopt.models.call import call, named_outputs, predict, to_tensors
from edgeopt.train.config import TrainOptions
from edgeopt.train.distillation import HardLoss
from edgeopt.train.loop import Session, TrainResult, fit
from edgeopt.train.objective import TrainBatch
from edgeopt.train.teachers import Forward
from edgeopt.train.watch import Watch


@dataclass(frozen=True)
class ClassLoss:
    """Cross-entropy of logits [N, classes] with one class per sample.

    Only the first `len(labels)` samples have labels; others, and views of which the label may not hold, do not count. A mixture
    of two samples counts for the classes of both, by their shares.

    Attributes:
        labels: int64 [labelled samples].
        output: name of the output that is the logits.
    """

    labels: Tensor
    output: str = "logits"

    def count(self, batch: TrainBatch) -> float:
        """Return the number of labelled samples."""
        return float(self._weights(batch).sum())

    def total(self, outputs: Mapping[str, Tensor], batch: TrainBatch) -> Tensor:
        """Return the cross-entropy, summed over labelled samples."""
        logits = outputs[self.output].float()
        own = F.cross_entropy(logits, self._classes(batch.indices, logits), reduction="none")
        if batch.shares is not None and batch.partners != batch.indices:
            other = F.cross_entropy(logits, self._classes(batch.partners, logits), reduction="none")
            own = batch.shares * own + (1 - batch.shares) * other
        return (own * self._weights(batch).to(logits.device)).sum()

    def classes(self, batch: TrainBatch) -> Tensor:
        """Return the class of each sample; 0 where it has no label."""
        return self._classes(batch.indices, next(iter(batch.inputs.values())))

    def _classes(self, indices: tuple[int, ...], like: Tensor) -> Tensor:
        known = [index if index < len(self.labels) else 0 for index in indices]
        return self.labels[known].to(like.device)

    def _weights(self, batch: TrainBatch) -> Tensor:
        known = torch.tensor([float(index < len(self.labels)) for index in batch.indices])
        if batch.partners:
            known *= torch.tensor([float(index < len(self.labels)) for index in batch.partners])
        return known if batch.labelled is None else known * batch.labelled.cpu()


@dataclass(frozen=True)
class Supervised:
    """The objective of a training on hard labels."""

    hard: HardLoss
    forward: Forward = named_outputs
    weights: Mapping[str, float] = field(default_factory=lambda: {"hard": 1.0})
    learned: nn.Module | None = None

    def counts(self, batch: TrainBatch) -> Mapping[str, float]:
        """Return what the loss is divided by."""
        return {"hard": self.hard.count(batch)}

    def sums(self, model: nn.Module, batch: TrainBatch) -> Mapping[str, Tensor]:
        """Return the loss, summed."""
        return {"hard": self.hard.total(self.forward(model, batch.inputs), batch)}


_NOTHING = Watch()


def train_supervised(
    model: nn.Module, samples: Samples, *, options: TrainOptions, session: Session, watch: Watch = _NOTHING
) -> TrainResult:
    """Train a classifier in place with cross-entropy on the samples' labels; `edgeopt.train.task_loss` is for any task.

    Raises:
        DataError: the samples have no labels.
    """
    labels = need_classes(samples)
    check_labels(labels.numpy(), predict(model, samples.collate([0])).shape[1], where="the training split")
    return fit(model, samples, Supervised(ClassLoss(labels)), options=options, session=session, watch=watch)


def cross_entropy(model: nn.Module, samples: Samples) -> Tensor:
    """Return the cross-entropy of `model` on all `samples` as one batch, with its graph."""
    inputs = to_tensors(samples.collate(range(len(samples))))
    return F.cross_entropy(call(model, inputs).logits, need_classes(samples))


def need_classes(samples: Samples) -> Tensor:
    """Return the samples' classes.

    Raises:
        DataError: they have none.
    """
    if samples.labels is None:
        raise DataError("the training split has no labels, and training on hard labels needs them")
    return torch.from_numpy(samples.labels)
