"""Reads a profile's result: speed, operators, modules, memory, placement, and what the machine could do."""

from __future__ import annotations

from collections.abc import Iterator

from edgeopt.interval import Interval
from edgeopt.profile.result import ProfileResult, VariantProfile
from edgeopt.report.model import Execution, Roof, Speed

_BASELINE = "fp32"


def baseline(profile: ProfileResult | None) -> str:
    """Return the variant that the others are compared with: the recipe's, else the first one that was profiled."""
    if profile is None or not profile.variants or any(row.name == _BASELINE for row in profile.variants):
        return _BASELINE
    return profile.baseline


def speed(row: VariantProfile, profile: ProfileResult) -> Speed:
    """Return the speed of the variant of `row`."""
    speedup, decision = _against_baseline(row.name, profile)
    return Speed(
        latency_ms={
            figure.statistic: Interval(figure.value_ms, figure.low_ms, figure.high_ms, figure.confidence)
            for figure in row.latency
        },
        withheld={figure.statistic: figure.needs_runs for figure in row.withheld},
        runs=row.n,
        warmup_runs=row.warmup_runs,
        load_ms=row.load_ms,
        first_run_ms=row.first_run_ms,
        peak_rss_bytes=row.peak_rss_bytes,
        speedup=speedup,
        decision=decision,
        samples_ms=tuple(row.samples_ms),
        operators=tuple(row.operators),
        modules=tuple(row.modules),
        memory=tuple(row.memory_timeline),
        drift_share=row.drift_share,
        steady=row.steady,
        outliers=row.outliers,
        busy=profile.conditions is not None and profile.conditions.busy,
        emulated=profile.emulated,
    )


def _against_baseline(name: str, profile: ProfileResult) -> tuple[Interval | None, str | None]:
    """Return time(baseline) / time(`name`) with its interval, and the decision."""
    for pair in profile.comparisons:
        if pair.a != baseline(profile) or pair.b != name:
            continue
        if not pair.ratio:
            return None, pair.decision
        bounds = (1 / pair.high if pair.high else None, 1 / pair.low if pair.low else None)
        return Interval(1 / pair.ratio, *bounds, pair.confidence), pair.decision
    return None, None


def roof(profile: ProfileResult) -> Roof | None:
    """Return the peak rates of the device, if they were measured."""
    peak = profile.peak
    if peak is None:
        return None
    levels = [(level.working_set_bytes, level.bytes_per_s) for level in peak.bandwidth]
    operations = {kind: rate for kind, rate in peak.operations_per_s.items() if rate}
    return Roof(operations, tuple(level for level in levels if level[1] > 0)) if operations and levels else None


def executions(profile: ProfileResult) -> Iterator[Execution]:
    """Yield the executed graph of each variant."""
    for row in profile.variants:
        placement = row.placement
        if row.floor_ms is None and placement is None:
            continue
        yield Execution(
            name=row.name,
            p50_ms=next((figure.value_ms for figure in row.latency if figure.statistic == "p50"), None),
            floor_ms=row.floor_ms,
            int8_macs_share=row.int8_macs_share,
            conversion_share=row.conversion_share,
            partitions=placement.partitions if placement else None,
            cpu_fallback_share=placement.cpu_fallback_share if placement else None,
            stretches=tuple(placement.stretches) if placement else (),
            breaks=tuple(placement.breaks) if placement else (),
            relative_error=row.numerics.relative_error if row.numerics else None,
        )
