"""What the stage `distill` returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgeopt.models.model_size import ModelSize
from edgeopt.train.epoch import Epoch, Evaluation


@dataclass(frozen=True)
class Trial:
    """One training of a student: with which seed, on the teacher or as the control, and its score."""

    kind: Literal["distilled", "control"]
    seed: int
    metric: str
    value: float


@dataclass(frozen=True)
class DistillFacts:
    """How the student came to be; `history` has one entry per epoch."""

    teacher: ModelSize
    student: ModelSize
    steps: int
    history: tuple[Epoch, ...]
    evaluations: tuple[Evaluation, ...] = field(default=())
    """The metric on the evaluation samples, where there are any."""
    teacher_score: float | None = None
    """The teacher's metric on the same samples."""
    trials: tuple[Trial, ...] = field(default=())
    """All students that were trained, where there are several."""
    kept_step: int | None = None
    """The step whose weights were kept; None: the last one."""

    @property
    def kept(self) -> Evaluation | None:
        """Return the evaluation of the weights that were kept; None: there was none."""
        last = self.evaluations[-1] if self.evaluations else None
        return next((one for one in self.evaluations if one.step == self.kept_step), last)

    def scores(self, kind: Literal["distilled", "control"]) -> tuple[float, ...]:
        """Return the metric of all students of one kind, by seed."""
        return tuple(trial.value for trial in self.trials if trial.kind == kind)


@dataclass(frozen=True)
class DistillResult(DistillFacts):
    """The student's folder, and how it came to be."""

    path: Path = field(default=Path())
