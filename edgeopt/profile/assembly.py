"""Assemble measured parts: one variant's profile, the figures that budgets read, the warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from edgeopt.profile.analysis import Counted, latencies, thin
from edgeopt.profile.measurement import Cold
from edgeopt.profile.operators import Insight
from edgeopt.profile.result import Comparison, MachineLoad, MemoryPoint, ModuleTime, Placement, VariantProfile
from edgeopt.profile.steady import find_drift, find_outliers
from edgeopt.verdict.order_statistics import effective_size
from edgeopt.verdict.sequential import Figures

_MANY_OUTLIERS = 0.02


@dataclass(frozen=True)
class Evidence:
    """Results of one variant besides its timed runs."""

    size_bytes: int
    cold: Sequence[Cold]
    insight: Insight
    placement: Placement | None
    modules: list[ModuleTime] = field(default_factory=list)


def figures(evidence: Evidence) -> Figures:
    """Return the figures of one variant that budgets may read, except quantiles of the latency."""
    cold, placement = evidence.cold, evidence.placement
    peaks = [float(start.peak_rss_bytes) for start in cold if start.peak_rss_bytes is not None]
    share = evidence.insight.int8_macs_share
    return {
        "size_bytes": [float(evidence.size_bytes)],
        "load_ms": [start.load_ms for start in cold],
        "first_run_ms": [start.first_run_ms for start in cold],
        "cold_start_ms": [start.load_ms + start.first_run_ms for start in cold],
        "peak_rss_bytes": peaks or None,
        "int8_macs_share": None if share is None else [share],
        "cpu_fallback_share": None if placement is None else [placement.cpu_fallback_share],
        "partitions": None if placement is None else [float(placement.partitions)],
    }


def variant_profile(name: str, counted: Counted, evidence: Evidence, *, confidence: float) -> VariantProfile:
    """Return the profile of variant `name`."""
    cold, insight = evidence.cold, evidence.insight
    samples = counted.samples(name)
    given, withheld = latencies(samples, confidence)
    kept, thinned = thin(samples)
    drift = find_drift(samples)
    outliers = find_outliers(samples, counted.own(name))
    return VariantProfile(
        name=name,
        size_bytes=evidence.size_bytes,
        load_ms=median(start.load_ms for start in cold),
        first_run_ms=median(start.first_run_ms for start in cold),
        peak_rss_bytes=_median_bytes([start.peak_rss_bytes for start in cold]),
        model_rss_bytes=_median_bytes([start.model_rss_bytes for start in cold]),
        cold_starts=len(cold),
        warmup_runs=counted.warmup_runs[name],
        steady=counted.steady[name],
        n=len(samples),
        effective_n=round(effective_size(samples, 0.5), 1) if len(samples) else 0.0,
        latency=given,
        withheld=withheld,
        outliers=outliers.count,
        outliers_waiting=outliers.waiting,
        drift_share=drift.change if drift.significant else 0.0,
        samples_ms=kept,
        samples_thinned=thinned,
        operators=insight.operators,
        modules=evidence.modules,
        arena_peak_bytes=insight.arena_peak_bytes,
        memory_timeline=[*_resident(cold), *insight.held],
        macs=insight.macs,
        int8_macs_share=insight.int8_macs_share,
        conversion_share=insight.conversion_share,
        floor_ms=insight.floor_ms,
        instructions=None,
        placement=evidence.placement,
        numerics=None,
    )


def _resident(cold: Sequence[Cold]) -> list[MemoryPoint]:
    """Return the memory over time of the cold start with the median peak."""
    start = sorted(cold, key=lambda one: one.peak_rss_bytes or 0)[len(cold) // 2]
    known = [(label, at, size) for label, at, size in start.memory if size is not None]
    return [MemoryPoint("process", place, at / 1e6, label, None, size) for place, (label, at, size) in enumerate(known)]


def _median_bytes(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return int(median(known)) if known else None


def warnings_of(
    variants: Sequence[VariantProfile], comparisons: Sequence[Comparison], conditions: MachineLoad, *, margin: float
) -> list[str]:
    """Return the warnings, worst first."""
    found = [
        f"{pair.b} is slower than {pair.a}: {pair.ratio:.3f} times its latency ({pair.low:.3f} to {pair.high:.3f})"
        for pair in comparisons
        if pair.decision == "slower"
    ]
    found += _undecided(comparisons, margin)
    if conditions.busy:
        busy = conditions.chunks - conditions.quiet_chunks
        others = f"other processes used {conditions.others_cores or 0:.2f} cores"
        if conditions.others_cores is None:
            others = f"{conditions.involuntary_switches_per_s:.0f} involuntary switches per second"
        found.append(
            f"the machine was busy in {busy} of {conditions.chunks} intervals ({others}); measure again when it is idle"
        )
    elif conditions.quiet_chunks < conditions.chunks:
        left_out = conditions.chunks - conditions.quiet_chunks
        found.append(f"{left_out} of {conditions.chunks} intervals were disturbed by other processes and are left out")
    if conditions.throttle_events:
        found.append(f"the processor throttled {conditions.throttle_events:.0f} times while measuring; let it cool")
    for variant in variants:
        found += _of_variant(variant)
    return found


def _undecided(comparisons: Sequence[Comparison], margin: float) -> list[str]:
    """Say what is known of a ratio that is not decided; without an interval nothing is, least of all that it is close."""
    return [
        f"{pair.b} compared with {pair.a}: {_known(pair, margin)} after {pair.rounds} rounds; give it more seconds"
        for pair in comparisons
        if pair.decision == "undecided"
    ]


def _known(pair: Comparison, margin: float) -> str:
    if pair.low is None or pair.high is None:
        return "too few runs to compare"
    return f"{pair.low:.3f} to {pair.high:.3f} of its time, not told from 1 ± {margin:.0%}"


def _outliers(variant: VariantProfile) -> str:
    found = f"{variant.name}: {variant.outliers} of {variant.n} runs took more than 1.5 times the median"
    if variant.outliers_waiting is None:
        return found
    waiting = f"in {variant.outliers_waiting} of these the thread waited for the processor"
    ours = variant.outliers - variant.outliers_waiting
    return f"{found}; {waiting}, {ours} were caused by the model or by a slower clock"


def _of_variant(variant: VariantProfile) -> list[str]:
    found = []
    if variant.placement and variant.placement.cpu_fallback_share > 0:
        blame = ", ".join(variant.placement.breaks[:3])
        found.append(f"{variant.name}: {variant.placement.cpu_fallback_share:.1%} fell back to the CPU, first at {blame}")
    if not variant.steady:
        found.append(f"{variant.name} never became steady; give it more seconds")
    if variant.drift_share:
        found.append(f"{variant.name} drifted by {variant.drift_share:+.1%} while it was measured")
    if variant.n and variant.outliers > _MANY_OUTLIERS * variant.n:
        found.append(_outliers(variant))
    if variant.withheld:
        needs = ", ".join(f"{item.statistic} needs {item.needs_runs}" for item in variant.withheld)
        found.append(f"{variant.name}: too few runs ({variant.n}, worth {variant.effective_n:.0f} independent ones): {needs}")
    return found
