"""Options of pruning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgeopt.config import Options
from edgeopt.distill.config import DistillLoss
from edgeopt.train.config import TrainOptions


class PruneOptions(Options):
    """How much goes, what goes first, and how the model recovers."""

    macs: float = Field(default=0.5, gt=0, lt=1)
    """Share of the multiply-accumulates to keep, at most."""
    importance: Literal["magnitude", "taylor"] = "magnitude"
    """What a channel is worth: the norm of its group's weights, or the first-order change of the loss without it."""
    scope: Literal["global", "layer"] = "global"
    """Rank channels over the whole model, or take the same share of every layer."""
    round_to: int = Field(default=8, ge=1)
    """Channel counts are multiples of this, as kernels like them."""
    max_layer_share: float = Field(default=0.8, gt=0, lt=1)
    """No layer loses more than this share of its channels."""
    ignore: list[str] = Field(default_factory=list)
    """Names of layers that stay whole; a model's last linear layers always do."""
    loss: DistillLoss = DistillLoss()
    """The recovery's loss against the teacher."""
    train: TrainOptions = TrainOptions()
    """The recovery training."""
