"""What a training reports while it runs: callbacks for user code, and trackers by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeopt.train.epoch import Evaluation


@dataclass(frozen=True)
class Step:
    """One finished step.

    Attributes:
        step: its number, from 1.
        steps: how many there will be.
        loss: weighted sum of the parts.
        parts: mean of each part over the global batch.
        learning_rate: the schedule's, before the groups' multiples.
        samples_per_second: since the training (re)started.
    """

    step: int
    steps: int
    loss: float
    parts: Mapping[str, float] = field(default_factory=dict)
    learning_rate: float = 0.0
    samples_per_second: float = 0.0

    def line(self, metric: Evaluation | None = None) -> str:
        """Return the step as people read it: parts of the loss, metric, speed."""
        parts = ", ".join(f"{name} {value:.4f}" for name, value in self.parts.items())
        scored = f", {metric.metric} {metric.value:.4f} at step {metric.step:,}" if metric else ""
        digits = ",.0f" if self.samples_per_second >= 10 else ".2g"
        return f"{parts}{scored}, {self.samples_per_second:{digits}} samples/s"


class Callback:
    """Base of callbacks: override what is needed; called in the main process only."""

    def on_step(self, step: Step) -> None:
        """After each optimizer step."""

    def on_evaluate(self, evaluation: Evaluation, *, best: bool) -> None:
        """After each evaluation; `best`: none was better."""

    def on_save(self, checkpoint: Path) -> None:
        """After each checkpoint."""
