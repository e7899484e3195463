"""Result of a profile. Everything can be written as JSON; names carry units, numbers their count and confidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from edgeopt.profile.peak import Peak
from edgeopt.verdict.findings import Judgement, State


@dataclass(frozen=True)
class Latency:
    """One quantile with its interval."""

    statistic: str
    value_ms: float
    low_ms: float
    high_ms: float
    confidence: float


@dataclass(frozen=True)
class Withheld:
    """A quantile with too few samples: it needs at least `needs_runs` independent runs."""

    statistic: str
    needs_runs: int


@dataclass(frozen=True)
class OperatorTime:
    """Time of one executed node, mean of the profiled runs; `share` is of all operators' time."""

    name: str
    op: str
    provider: str
    ms: float
    share: float
    macs: int
    bytes: int
    """Bytes read and written: inputs, weights, outputs."""
    kind: str | None
    """The arithmetic really used: int8, fp32, …; None where nothing is multiplied."""
    bound_ms: float | None
    """Least time that the machine's peak allows; None: the peak is unknown."""


@dataclass(frozen=True)
class ModuleTime:
    """Time of one module of the source model, by the nodes' names; "" stands for nodes of no module."""

    name: str
    """Dotted path, such as ``bert.encoder.layer.0``; every parent has an entry of its own."""
    ms: float
    """Time with all submodules."""
    own_ms: float
    """Time without them."""
    share: float
    """`ms` of all operators' time."""


@dataclass(frozen=True)
class Stretch:
    """Consecutive nodes on one provider."""

    provider: str
    nodes: int
    first: str
    """The name of the first of them, with its operator."""


@dataclass(frozen=True)
class Placement:
    """Which provider runs which nodes, as onnxruntime decided when it loaded the model."""

    nodes: dict[str, int]
    """Nodes by provider."""
    partitions: int
    """Number of stretches of consecutive nodes on one provider; 1 is ideal."""
    cpu_fallback_share: float
    """Share of the MACs (of the nodes, without MACs) that were meant for another provider and run on the CPU's."""
    breaks: list[str]
    """The first node of each stretch that fell back to the CPU, with its operator."""
    stretches: list[Stretch] = field(default_factory=list)
    """All of them, in running order, as many as there are partitions; the first 500 where there are more."""


@dataclass(frozen=True)
class Numerics:
    """Difference between a provider's outputs and the CPU provider's on the same inputs."""

    reference: str
    max_abs_error: float | None
    """None: it is not finite, such as NaN on one side only."""
    relative_error: float | None
    """Largest error divided by the largest magnitude; None: it is not finite."""
    argmax_agreement: float | None
    """Rows whose largest output is at the same place; None where no output has two axes or more."""


@dataclass(frozen=True)
class MemoryPoint:
    """Memory at one moment.

    `scope` "process": resident memory of a process that only loads and runs this model, over the labels "before load",
    "loaded", "first run", "steady, N runs" (of the cold start with the median peak); `at_ms` counts from the load's beginning.
    `scope` "arena": what onnxruntime's arena held (weights it copied, prepacked or folded, and activations) when the operator
    `label` ended, its inputs included; `at_ms` counts from the beginning of the run, with onnxruntime's profiler on. The runs
    after the first one take the peak of their activations as one block, so this is how the need rises and falls, not what is
    asked of the system.
    """

    scope: Literal["process", "arena"]
    index: int
    """Place in the scope, from 0, in the order of time; in the arena that is the running order of the operators."""
    at_ms: float
    label: str
    """A moment of the process, or the node's name."""
    op: str | None
    """The node's operator; None for a moment of the process."""
    bytes: int


@dataclass(frozen=True)
class VariantProfile:
    """Everything measured of one model."""

    name: str
    size_bytes: int
    load_ms: float | None
    """Median of the cold starts, as are the next three; None on an emulator, whose times mean nothing."""
    first_run_ms: float | None
    peak_rss_bytes: int | None
    """Peak resident memory of a process that only loads and runs this model."""
    model_rss_bytes: int | None
    """The part of that peak that was not there before the model was loaded."""
    cold_starts: int
    warmup_runs: int
    steady: bool
    """Whether a steady state was reached."""
    n: int
    """Counted runs, without warm-up and the first run after a change of variant."""
    effective_n: float
    """Independent runs they are worth, for the median."""
    latency: list[Latency]
    withheld: list[Withheld]
    outliers: int
    """Runs notably above the median: by five robust deviations and by half of it."""
    outliers_waiting: int | None
    """Those of them in which the thread waited for the processor for most of the excess; None: not reported."""
    drift_share: float
    """Change of the latency over the measurement, relative to its median."""
    samples_ms: list[float]
    samples_thinned: bool
    """`samples_ms` holds 2,000 evenly spaced runs instead of all."""
    operators: list[OperatorTime]
    modules: list[ModuleTime]
    """In the order of the file's nodes, parents before what is inside; empty where node names are no paths."""
    arena_peak_bytes: int | None
    """Peak of weights and activations in onnxruntime's arena, including scratch memory within an operator."""
    memory_timeline: list[MemoryPoint]
    """The process from load to steady state, then the arena over the operators of a run; empty where neither is known."""
    macs: int | None
    """Multiply-accumulates of one run, as executed; None where the provider hides them."""
    int8_macs_share: float | None
    """MACs that ran in int8."""
    conversion_share: float
    """Time spent changing type or layout (QuantizeLinear, Reorder, …)."""
    floor_ms: float | None
    """Sum of the operators' least times: the physical limit of this graph on this machine."""
    instructions: int | None
    """Instructions of one run, where an emulator counts them."""
    placement: Placement | None
    numerics: Numerics | None
    """On an emulator only."""


@dataclass(frozen=True)
class Comparison:
    """`ratio` is time(b) / time(a), paired round by round; `decision` says what b is."""

    a: str
    b: str
    ratio: float | None
    low: float | None
    high: float | None
    confidence: float
    rounds: int
    decision: str
    basis: str = "clock"
    """`clock`, or `processor time` where others kept the machine busy and the model runs on one thread."""


@dataclass(frozen=True)
class MachineLoad:
    """What else the machine did meanwhile; None where the system does not tell."""

    wall_s: float
    others_cores: float | None
    """Cores that other processes kept busy, on average."""
    steal_share: float | None
    """Time the hypervisor gave to others."""
    involuntary_switches_per_s: float
    quiet_chunks: int
    chunks: int
    frequency_mhz: float | None
    temperature_c: float | None
    throttle_events: float | None
    energy_j: float | None
    busy: bool


@dataclass(frozen=True)
class ProfileResult:
    """The profile of several variants of a model on one target; the first variant is the baseline."""

    target: str
    provider: str
    threads: int
    device: dict[str, Any]
    versions: dict[str, str]
    seconds: float
    """Requested time limit."""
    elapsed_s: float
    overhead_ns: float
    """Time that timing adds to a run; subtracted from every sample."""
    batches: int
    call: str
    """`io_binding` (inputs bound once) or `run` (with Python's conversions)."""
    variants: list[VariantProfile]
    comparisons: list[Comparison]
    budgets: list[Judgement]
    verdict: State
    emulated: bool
    """No time and no memory was measured: the target is an emulator."""
    conditions: MachineLoad | None
    peak: Peak | None = None
    """Peak rates of the device for this provider and thread count; None: not measured."""
    warnings: list[str] = field(default_factory=list)
    inputs: dict[str, list[str]] = field(default_factory=dict)
    """The types and shapes that each input had, such as ``float32 [1, 64]``."""

    @property
    def baseline(self) -> str:
        """Return the name of the variant that the others are compared with: the first."""
        return self.variants[0].name

    def facts(self) -> dict[str, Any]:
        """Return everything as plain dicts and lists."""
        return asdict(self)


@dataclass(frozen=True)
class ContextProfile:
    """Generation after prompts of one length."""

    context: int
    ttft_ms: float
    """Median time from the prompt to its first token."""
    prefill_tokens_per_s: float
    tokens_per_s: float
    """Median rate of decoding."""
    inter_token_p50_ms: float
    inter_token_p95_ms: float
    inter_token_p99_ms: float
    samples: int
    """Tokens that the percentiles are of."""
    rss_bytes: int | None
    """Memory of the process after the prompt and its answer."""
    cache_bytes: int
    bytes_per_token: int
    """Bytes of weights and cache that a step reads."""
    limit_tokens_per_s: float
    """What the memory's bandwidth allows."""

    @property
    def share_of_limit(self) -> float:
        """Return the rate of decoding as a share of what the memory's bandwidth allows."""
        return self.tokens_per_s / self.limit_tokens_per_s


@dataclass(frozen=True)
class GenerationProfile:
    """Generation by context; `model` is a path, or the model's name in a run."""

    model: str
    threads: int
    weight_bytes: int
    bandwidth_bytes_per_s: float
    contexts: tuple[ContextProfile, ...]
    budgets: tuple[Judgement, ...]


@dataclass(frozen=True)
class GenerationFacts:
    """What the stage `generation` returns: the language models of a run, measured one after the other."""

    models: tuple[GenerationProfile, ...]
