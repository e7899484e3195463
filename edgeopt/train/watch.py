"""What looks at a training from outside: evaluation, callbacks, random views of the samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import nn

from edgeopt.data.augment.views import Views
from edgeopt.train.callbacks import Callback


@dataclass(frozen=True)
class Score:
    """The value of a metric, and its merit: a number that is larger for a better model."""

    metric: str
    value: float
    merit: float


Evaluator = Callable[[nn.Module], Score]
"""Maps a model in evaluation mode to its score on the evaluation samples."""


@dataclass(frozen=True)
class Watch:
    """What looks at a training from outside.

    Attributes:
        evaluate: scores the model now and then; None: the training is not evaluated.
        callbacks: called after steps, evaluations and checkpoints.
        views: random views of the samples; None: the samples as they are.
    """

    evaluate: Evaluator | None = None
    callbacks: Sequence[Callback] = field(default=())
    views: Views | None = None
