"""Options of pruning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgeopt.config import Options
from edgeopt.train.config import DistillLoss, TrainOptions


class PruneOptions(Options):
    """How much is removed, in which order, and how the model recovers."""

    macs: float = Field(default=0.5, gt=0, lt=1)
    """Largest share of the multiply-accumulates to keep."""
    importance: Literal["magnitude", "taylor"] = "magnitude"
    """How channels are ranked. magnitude: norm of the group's weights; taylor: first-order change of the loss without it."""
    scope: Literal["global", "layer"] = "global"
    """global: rank channels over the whole model; layer: remove the same share of every layer."""
    round_to: int = Field(default=8, ge=1)
    """Channel counts become multiples of this, which kernels compute fastest."""
    max_layer_share: float = Field(default=0.8, gt=0, lt=1)
    """Largest share of its channels that a layer may lose."""
    ignore: list[str] = Field(default_factory=list)
    """Names of layers that are not pruned; a model's last linear layers never are."""
    loss: DistillLoss = DistillLoss()
    """Loss of the recovery training against the teacher."""
    train: TrainOptions = TrainOptions()
    """Recovery training."""
