"""What the stage `verify` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeopt.metric import Metric, Scale
from edgeopt.roles import Role
from edgeopt.tasks.paired import Paired
from edgeopt.verdict.findings import State


@dataclass(frozen=True)
class VariantAccuracy:
    """How good a model is; `agreement` is with the first variant, `None` where there are no answers to compare.

    `accuracy`, with its bounds, is the value of the task's metric (`VerifyFacts.metric`), which is accuracy for classifiers.
    """

    name: str
    role: Role
    stage: str
    accuracy: float | None
    low: float | None
    high: float | None
    agreement: float | None
    size_bytes: int | None
    parameters: int | None
    macs: int | None
    paired: Paired | None = None
    """How its metric differs from the first variant's on the same samples; None: it is the first, or there are no labels."""
    distances: Mapping[str, float] = field(default_factory=dict)
    """How far its outputs are from those of the variant it was made from, by what the task calls it, such as KL."""


@dataclass(frozen=True)
class Divergence:
    """How far one model's outputs are from those of the model it was made from.

    `first_tensor` is the first layer in the order of the graph whose quantization error is above a tenth of its signal (SQNR
    below 20 dB), None where no layer is, or none was measured.
    """

    source: str
    result: str
    output: str
    max_abs_error: float
    relative_error: float
    first_tensor: str | None


@dataclass(frozen=True)
class VerifyFacts:
    """Every model of a run on the same evaluation samples."""

    metric: str
    samples: int
    confidence: float
    variants: tuple[VariantAccuracy, ...]
    divergence: tuple[Divergence, ...]
    """Of the last PyTorch model and the baseline, if there is one; of the baseline and the quantized model."""
    verdict: State
    """Of the quantized model compared with the baseline."""
    reason: str
    whole_verdict: State | None = None
    """Of the quantized model compared with the teacher; None: there is no teacher, or no accuracy."""
    whole_reason: str | None = None
    quantized: Paired | None = None
    """How the quantized model's metric differs from the baseline's on the same samples; None: there are no labels."""
    task: str = "single-label-classification"
    """What the models were judged as; see `edgeopt.tasks.registry`."""
    scale: Scale = Scale.SHARE
    """Of the metric."""
    larger_is_better: bool = True
    """Of the metric."""
    warnings: tuple[str, ...] = ()
    """What the comparison leaves out."""

    @property
    def kind(self) -> Metric:
        """Return the metric with its direction and scale."""
        return Metric(self.metric, self.scale, self.larger_is_better)
