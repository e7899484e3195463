"""The report as a value: everything that any of its formats shows, and nothing that only one of them needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

SCHEMA_VERSION = 1

State = Literal["pass", "fail", "undecided"]


@dataclass(frozen=True)
class Finding:
    """One check with its result, which the verdict is derived from."""

    state: State
    text: str
    stage: str
    asked: bool = False
    """Whether the recipe or a budget asks the question; "never worse" asks by itself."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on a run in one sentence, and its findings, worst first."""

    state: State
    sentence: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Interval:
    """A measured figure and its confidence interval."""

    value: float
    low: float | None = None
    high: float | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class Operator:
    """One node as it ran: its time in a run, and its work."""

    name: str
    op: str
    ms: float
    share: float
    provider: str | None = None
    macs: int = 0
    bytes: int = 0
    """Bytes read and written."""
    kind: str | None = None
    """The arithmetic really used, such as int8; None where nothing is multiplied."""
    bound_ms: float | None = None
    """Least time that the machine's measured peak allows."""


@dataclass(frozen=True)
class Module:
    """Time of one module of the source model; `own_ms` without its submodules."""

    name: str
    ms: float
    own_ms: float
    share: float


@dataclass(frozen=True)
class MemoryPoint:
    """Memory at one moment: of the process (`scope` "process") or in onnxruntime's arena ("arena")."""

    scope: str
    at_ms: float
    label: str
    op: str | None
    bytes: int


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
    operators: tuple[Operator, ...]
    modules: tuple[Module, ...] = ()
    memory: tuple[MemoryPoint, ...] = ()
    drift_share: float | None = None
    """Change of the latency while it was measured, relative to its median; 0: no trend."""
    steady: bool | None = None
    outliers: int | None = None


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


@dataclass(frozen=True)
class StageRow:
    """One stage of the run, in one line."""

    stage: str
    status: str
    seconds: float
    key: str
    summary: str


@dataclass(frozen=True)
class LayerNoise:
    """Signal-to-quantization-noise ratio at the output of one node, and the metric's loss where that was measured."""

    name: str
    op: str
    sqnr_db: float
    metric_drop: float | None = None


@dataclass(frozen=True)
class Epoch:
    """One epoch of a training stage."""

    stage: str
    epoch: int
    loss: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Parting:
    """Difference between the outputs of one variant and those of the variant it was made from."""

    source: str
    result: str
    max_abs_error: float | None
    relative_error: float | None
    first_tensor: str | None


@dataclass(frozen=True)
class Stretch:
    """Consecutive nodes on one provider."""

    provider: str
    nodes: int
    first: str


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


@dataclass(frozen=True)
class Warned:
    """A warning: a fallback, a skipped node, a clamped range."""

    stage: str
    text: str


@dataclass(frozen=True)
class Decision:
    """A decision of a stage, with its reason."""

    stage: str
    what: str
    choice: str
    reason: str


@dataclass(frozen=True)
class Island:
    """A node that runs in floating point in an int8 graph."""

    node: str
    op: str
    reason: str


@dataclass(frozen=True)
class File:
    """A file of the bundle."""

    path: str
    sha256: str
    size_bytes: int


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
    epochs: tuple[Epoch, ...] = ()
    partings: tuple[Parting, ...] = ()
    executions: tuple[Execution, ...] = ()
    layers: tuple[LayerNoise, ...] = ()
    sensitivity: tuple[LayerNoise, ...] = ()
    """Effect of each layer alone on the outputs, worst first."""
    baseline: str = "fp32"
    """Variant that the speed of the others is compared with."""
    roof: Roof | None = None
    int8_macs_share: float | None = None
    islands: tuple[Island, ...] = ()
    warnings: tuple[Warned, ...] = ()
    decisions: tuple[Decision, ...] = ()
    bundle_sha256: str | None = None
    files: tuple[File, ...] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def variant(self, name: str) -> Variant | None:
        """Return the variant called `name`, if there is one."""
        return next((variant for variant in self.variants if variant.name == name), None)
