"""Read a profile's facts: speed, operators, modules, memory, placement, and the machine's peak rates."""

from __future__ import annotations

from collections.abc import Iterator

from edgeopt.report.facts import Facts
from edgeopt.report.model import Execution, Interval, MemoryPoint, Module, Operator, Roof, Speed, Stretch
from edgeopt.verdict.run import BASELINE


def baseline(profile: Facts) -> str:
    """Return the baseline: the recipe's, else the first variant that was profiled."""
    names = [row.text("name") or "?" for row in profile.rows("variants")]
    return names[0] if names and BASELINE not in names else BASELINE


def speed(row: Facts, profile: Facts) -> Speed:
    """Return the speed of the variant of `row`."""
    name = row.text("name")
    latency = {}
    for figure in row.rows("latency"):
        value, statistic = figure.number("value_ms"), figure.text("statistic")
        if value is not None and statistic:
            bounds = (figure.number("low_ms"), figure.number("high_ms"), figure.number("confidence"))
            latency[statistic] = Interval(value, *bounds)
    speedup, decision = _against_baseline(name, profile)
    return Speed(
        latency_ms=latency,
        withheld={figure.text("statistic") or "?": figure.integer("needs_runs") or 0 for figure in row.rows("withheld")},
        runs=row.integer("n"),
        warmup_runs=row.integer("warmup_runs"),
        load_ms=row.number("load_ms"),
        first_run_ms=row.number("first_run_ms"),
        peak_rss_bytes=row.integer("peak_rss_bytes"),
        speedup=speedup,
        decision=decision,
        samples_ms=tuple(row.numbers("samples_ms")),
        operators=tuple(_operator(item) for item in row.rows("operators")),
        modules=tuple(
            Module(item.text("name") or "", *(item.number(key) or 0.0 for key in ("ms", "own_ms", "share")))
            for item in row.rows("modules")
        ),
        memory=tuple(_memory(item) for item in row.rows("memory_timeline")),
        drift_share=row.number("drift_share"),
        steady=row.flag("steady"),
        outliers=row.integer("outliers"),
    )


def _against_baseline(name: str | None, profile: Facts) -> tuple[Interval | None, str | None]:
    """Return time(baseline) / time(`name`) with its interval, and the decision."""
    for pair in profile.rows("comparisons"):
        if pair.text("a") != baseline(profile) or pair.text("b") != name:
            continue
        ratio, low, high = (pair.number(key) for key in ("ratio", "low", "high"))
        if not ratio:
            return None, pair.text("decision") or "undecided"
        speedup = Interval(1 / ratio, 1 / high if high else None, 1 / low if low else None, pair.number("confidence"))
        return speedup, pair.text("decision") or _decide(low or ratio, high or ratio)
    return None, None


def _decide(low: float, high: float) -> str:
    return "faster" if high < 1 else "slower" if low > 1 else "undecided"


def _operator(item: Facts) -> Operator:
    return Operator(
        item.text("name") or "?",
        item.text("op") or "?",
        item.number("ms") or 0.0,
        item.number("share") or 0.0,
        item.text("provider"),
        item.integer("macs") or 0,
        item.integer("bytes") or 0,
        item.text("kind"),
        item.number("bound_ms"),
    )


def _memory(item: Facts) -> MemoryPoint:
    return MemoryPoint(
        item.text("scope") or "?",
        item.number("at_ms") or 0.0,
        item.text("label") or "?",
        item.text("op"),
        item.integer("bytes") or 0,
    )


def roof(profile: Facts) -> Roof | None:
    """Return the peak rates of the device, if they were measured."""
    peak = profile.table("peak")
    rates = peak.table("operations_per_s")
    operations = {kind: rate for kind in rates.values for rate in [rates.number(kind)] if rate}
    levels = [(row.integer("working_set_bytes") or 0, row.number("bytes_per_s") or 0.0) for row in peak.rows("bandwidth")]
    return Roof(operations, tuple(level for level in levels if level[1] > 0)) if operations and levels else None


def executions(profile: Facts) -> Iterator[Execution]:
    """Yield the executed graph of each variant."""
    for row in profile.rows("variants"):
        median = next((item.number("value_ms") for item in row.rows("latency") if item.text("statistic") == "p50"), None)
        placement = row.table("placement")
        execution = Execution(
            name=row.text("name") or "?",
            p50_ms=median,
            floor_ms=row.number("floor_ms"),
            int8_macs_share=row.number("int8_macs_share"),
            conversion_share=row.number("conversion_share"),
            partitions=placement.integer("partitions"),
            cpu_fallback_share=placement.number("cpu_fallback_share"),
            stretches=tuple(
                Stretch(item.text("provider") or "?", item.integer("nodes") or 0, item.text("first") or "?")
                for item in placement.rows("stretches")
            ),
            breaks=tuple(placement.texts("breaks")),
        )
        if execution.floor_ms is not None or execution.partitions is not None:
            yield execution
