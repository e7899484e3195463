"""The report as a value: everything that any of its formats shows, and nothing that only one of them needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgeopt.bundle.result import BundleFile
from edgeopt.evaluate.result import Divergence
from edgeopt.interval import Interval
from edgeopt.metric import Metric, Scale
from edgeopt.profile.result import GenerationProfile, MemoryPoint, ModuleTime, OperatorTime, Stretch
from edgeopt.quantize.result import Island, LayerNoise
from edgeopt.roles import Role
from edgeopt.tasks.paired import Paired
from edgeopt.verdict.findings import Verdict

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Roof:
    """Measured peak rates of the device: operations (2 per MAC) per second by arithmetic, bytes per second."""

    operations_per_s: Mapping[str, float]
    bandwidth: tuple[tuple[int, float], ...]
    """Pairs (largest number of bytes an operator touches, bytes per second), smallest first."""


@dataclass(frozen=True)
class Speed:
    """Speed of a model on the target; the speed-up is the baseline's time divided by the model's."""

    latency_ms: Mapping[str, Interval]
    """By statistic, such as ``p95``; statistics with too few runs are absent."""
    withheld: Mapping[str, int]
    """Statistic → number of runs it would have needed."""
    runs: int | None
    warmup_runs: int | None
    load_ms: float | None
    first_run_ms: float | None
    peak_rss_bytes: int | None
    speedup: Interval | None
    decision: str | None
    """Compared with the baseline: "faster", "slower", "same" or "undecided"."""
    samples_ms: tuple[float, ...]
    operators: tuple[OperatorTime, ...]
    modules: tuple[ModuleTime, ...] = ()
    memory: tuple[MemoryPoint, ...] = ()
    drift_share: float | None = None
    """Change of the latency while it was measured, relative to its median; 0: no trend."""
    steady: bool | None = None
    outliers: int | None = None
    busy: bool = False
    """Other processes kept the machine busy: times hold their load, ratios do not."""
    emulated: bool = False
    """The target is an emulator: no time was measured."""


@dataclass(frozen=True)
class Variant:
    """One variant of the model between teacher and int8."""

    name: str
    stage: str
    accuracy: Interval | None = None
    agreement: float | None = None
    size_bytes: int | None = None
    parameters: int | None = None
    macs: int | None = None
    speed: Speed | None = None
    role: Role = Role.OTHER
    distances: Mapping[str, float] = field(default_factory=dict)
    """How far its outputs are from those of the variant it was made from, such as KL."""


@dataclass(frozen=True)
class StageRow:
    """One stage of the run, in one line."""

    stage: str
    status: str
    seconds: float
    key: str
    summary: str


@dataclass(frozen=True)
class TrainingEpoch:
    """One epoch of a training stage."""

    stage: str
    epoch: int
    loss: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Execution:
    """Executed graph of one variant, and the least time this machine needs for it."""

    name: str
    p50_ms: float | None
    floor_ms: float | None
    """Sum over operators of the larger of MACs over the measured peak and bytes over the measured bandwidth."""
    int8_macs_share: float | None
    conversion_share: float | None
    """Share of the operators' time spent on changes of type or layout."""
    partitions: int | None
    cpu_fallback_share: float | None
    stretches: tuple[Stretch, ...] = ()
    """In running order."""
    breaks: tuple[str, ...] = ()
    """First node of each partition that fell back to the CPU."""
    relative_error: float | None = None
    """Largest difference from the CPU provider's outputs over the largest output; on an emulator."""


@dataclass(frozen=True)
class Warned:
    """A warning: a fallback, a skipped node, a clamped range."""

    stage: str
    text: str


@dataclass(frozen=True)
class StageDecision:
    """A decision of a stage, with its reason."""

    stage: str
    what: str
    choice: str
    reason: str


@dataclass(frozen=True)
class PairedModels:
    """The difference of the metric of two models on the same samples."""

    name: str
    against: str
    found: Paired


@dataclass(frozen=True)
class Conditions:
    """Where and how the figures were measured."""

    device: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    provider: str | None = None
    threads: int | None = None
    metric: str = "accuracy"
    evaluation_samples: int | None = None
    calibration_samples: int | None = None
    scale: Scale = Scale.SHARE
    """Of the metric."""
    larger_is_better: bool = True
    """Of the metric."""

    @property
    def kind(self) -> Metric:
        """Return the metric with its direction and scale."""
        return Metric(self.metric, self.scale, self.larger_is_better)


@dataclass(frozen=True)
class Report:
    """A whole report."""

    schema_version: int
    edgeopt: str
    name: str
    target: str
    verdict: Verdict
    variants: tuple[Variant, ...]
    stages: tuple[StageRow, ...]
    conditions: Conditions
    epochs: tuple[TrainingEpoch, ...] = ()
    partings: tuple[Divergence, ...] = ()
    executions: tuple[Execution, ...] = ()
    generations: tuple[GenerationProfile, ...] = ()
    """How fast the language models of the run generate."""
    layers: tuple[LayerNoise, ...] = ()
    sensitivity: tuple[LayerNoise, ...] = ()
    """Effect of each layer alone on the outputs, worst first."""
    pairs: tuple[PairedModels, ...] = ()
    """The quantized model against the baseline, and the last model against the first."""
    baseline: str = "fp32"
    """Variant that the speed of the others is compared with."""
    roof: Roof | None = None
    int8_macs_share: float | None = None
    islands: tuple[Island, ...] = ()
    warnings: tuple[Warned, ...] = ()
    decisions: tuple[StageDecision, ...] = ()
    bundle_sha256: str | None = None
    files: tuple[BundleFile, ...] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def of(self, role: Role) -> Variant | None:
        """Return the variant with `role`, if there is one."""
        return next((variant for variant in self.variants if variant.role is role), None)

    def variant(self, name: str) -> Variant | None:
        """Return the variant called `name`, if there is one."""
        return next((variant for variant in self.variants if variant.name == name), None)
