"""Learning rates in units of each parameter's own step: a rounding flips when a weight moves by half of it.

A weight's scale has a rate of its own, 0 by default: when it changes by one part in 127, all large weights are rounded to other
integers at once, and what adaptive rounding has found is lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from edgeopt.quantize.config import TrainingOptions
from edgeopt.quantize.training.blocks import Block

_STEPS = 127.0  # of the largest weight: the step that weights of layers in floating point are given
_WARM_UP = 10


@dataclass(frozen=True)
class Rates:
    """The highest learning rates: of weights in steps of their grid, of scales as a share of each."""

    weights: float
    scales: float
    weight_scales: float = 0.0


def rates_of(options: TrainingOptions, weights: float) -> Rates:
    """Return the learning rates that the options give, with that of weights."""
    return Rates(weights, options.scale_learning_rate, options.weight_scale_learning_rate)


def groups(part: Block, rates: Rates) -> list[dict[str, object]]:
    """Return the parameters of a network or block, each with a learning rate in units of its own step."""
    found: list[dict[str, object]] = [
        {"params": [weight], "lr": rates.weights * float(grid.start.mean())} for weight, grid in part.weights
    ]
    found += [{"params": [weight], "lr": rates.weights * float(weight.detach().abs().max()) / _STEPS} for weight in part.floats]
    for bias in part.biases:
        spread = float(bias.values.detach().abs().mean()) or 1e-3
        found.append({"params": [bias.values], "lr": rates.weights * spread / _STEPS})
    of_weights = {id(grid) for _, grid in part.weights}
    for mine, rate in ((False, rates.scales), (True, rates.weight_scales)):
        ratios = [grid.ratio for grid in part.grids if (id(grid) in of_weights) is mine]
        found.append({"params": ratios if rate else [], "lr": rate})
    for group in found:
        group["highest"] = group["lr"]
    return [group for group in found if group["params"]]


def warmed(optimizer: torch.optim.Optimizer, share: float, step: int, *, warm_up: int = _WARM_UP) -> None:
    """Set the learning rates: `warm_up` steps of rise to each group's highest, then a cosine to 0 at the end (`share` = 1)."""
    factor = 0.5 * (1 + math.cos(math.pi * share)) * min(1.0, (step + 1) / warm_up)
    for group in optimizer.param_groups:
        group["lr"] = group["highest"] * factor
