"""What the stages of a run found that its verdict rests on; what no stage looked at is None or empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgeopt.interval import Interval
from edgeopt.metric import ACCURACY, Metric
from edgeopt.roles import Role
from edgeopt.verdict.findings import Answer, Judgement


@dataclass(frozen=True)
class ModelFigures:
    """The figures of one model."""

    name: str
    role: Role
    accuracy: float | None = None
    """The value of the run's metric."""
    size_bytes: int | None = None
    p50_ms: float | None = None
    speedup: Interval | None = None
    """The baseline's time divided by its own."""
    decision: str | None = None
    """Its speed compared with the baseline's: "faster", "slower", "same" or "undecided"."""


@dataclass(frozen=True)
class Shrinkage:
    """What pruning took away."""

    macs_before: int
    macs_after: int
    parameters_before: int
    parameters_after: int


@dataclass(frozen=True)
class ExportParity:
    """How an export compares with PyTorch."""

    passed: bool
    relative_error: float
    tolerance: float


@dataclass(frozen=True)
class Evidence:
    """All that the verdict on a run rests on."""

    measured: bool
    """A stage that quantizes, verifies or profiles was run."""
    models: Sequence[ModelFigures] = ()
    metric: Metric = ACCURACY
    """What the models' `accuracy` is a value of."""
    shrinkage: Shrinkage | None = None
    quantized_accuracy: Answer | None = None
    """Of the quantized model compared with the baseline."""
    whole_accuracy: Answer | None = None
    """Of the final model compared with the teacher."""
    budgets: Sequence[Judgement] = ()
    rates: Mapping[str, float] = field(default_factory=dict)
    """Tokens per second that language models decode, by the model's name."""
    parities: Mapping[str, ExportParity] = field(default_factory=dict)
    """By the name of the export stage."""
    bundle_verified: bool | None = None

    def of(self, role: Role) -> ModelFigures | None:
        """Return the model with `role`, if there is one."""
        return next((model for model in self.models if model.role is role), None)
