"""The learning rate as a pure function of the step, so that a resumed training needs no state for it."""

from __future__ import annotations

import math

from edgeopt.train.config import TrainOptions


def learning_rate(options: TrainOptions, step: int, steps: int) -> float:
    """Return the learning rate of step `step` of `steps`: a linear rise, then the schedule's fall to 0."""
    warmup_steps = round(options.warmup * steps)
    if step < warmup_steps:
        return options.learning_rate * (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, steps - warmup_steps)
    match options.schedule:
        case "cosine":
            return options.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        case "linear":
            return options.learning_rate * (1 - done)
        case "constant":
            return options.learning_rate
