"""Training on hard labels, for a teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeopt.data.labels import check_labels
from edgeopt.data.samples import Samples
from edgeopt.errors import DataError
from edgeopt.models.call import call, predict, to_tensors
from edgeopt.train.config import TrainOptions
from edgeopt.train.loop import Session, TrainResult, fit


def train_supervised(model: nn.Module, samples: Samples, *, options: TrainOptions, session: Session) -> TrainResult:
    """Train `model` in place with cross-entropy on the samples' labels.

    Raises:
        DataError: the samples have no labels.
    """
    labels = _labels(samples)
    check_labels(labels.numpy(), predict(model, samples.collate([0])).shape[1], where="the training split")

    def loss(trained: nn.Module, inputs: Mapping[str, Tensor], indices: Sequence[int]) -> Tensor:
        logits = call(trained, inputs).logits
        return F.cross_entropy(logits, labels[list(indices)].to(logits.device))

    return fit(model, samples, loss, options=options, session=session)


def cross_entropy(model: nn.Module, samples: Samples) -> Tensor:
    """Return the cross-entropy of `model` on all `samples` as one batch, with its graph."""
    inputs = to_tensors(samples.collate(range(len(samples))))
    return F.cross_entropy(call(model, inputs).logits, _labels(samples))


def _labels(samples: Samples) -> Tensor:
    if samples.labels is None:
        raise DataError("the training split has no labels, and training on hard labels needs them")
    return torch.from_numpy(samples.labels)
