"""The learning rate as a pure function of the step, so that a resumed training needs no state for it."""

from __future__ import annotations

import math
from collections.abc import Callable

from edgeopt.errors import RecipeError
from edgeopt.train.config import TrainOptions
from edgeopt.user_code import named


def learning_rate(options: TrainOptions, step: int, steps: int) -> float:
    """Return the learning rate of step `step` of `steps`: a linear rise, then the schedule's fall to 0."""
    highest = options.learning_rate or 0.0
    warmup_steps = round(options.warmup * steps)
    if ":" not in options.schedule and step < warmup_steps:
        return highest * (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, steps - warmup_steps)
    match options.schedule:
        case "cosine":
            return highest * 0.5 * (1 + math.cos(math.pi * done))
        case "linear":
            return highest * (1 - done)
        case "inverse-sqrt":
            return highest * math.sqrt(max(1, warmup_steps) / max(1, step))
        case "constant":
            return highest
        case own:
            return highest * _factor(own)(step, steps)


def _factor(name: str) -> Callable[[int, int], float]:
    """Return the user's schedule, called ``module:callable``."""
    try:
        with named(name, stay=True) as function:
            return lambda step, steps: float(function(step, steps))
    except (ImportError, AttributeError, ValueError) as error:
        raise RecipeError(f"train.schedule {name}: cannot be imported: {error}") from error
