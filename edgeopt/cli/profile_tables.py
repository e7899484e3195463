"""Print a profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeopt.cli.options import inputs_line
from edgeopt.cli.output import say, warn
from edgeopt.cli.tables import show
from edgeopt.units import NONE, NOT_MEASURED, percent

if TYPE_CHECKING:
    from edgeopt.profile.result import Numerics, ProfileResult, VariantProfile


def show_profile(result: ProfileResult, *, markdown: bool, given: bool) -> None:
    """Print the variants as a table, then inputs, ratios and budgets; warnings go to stderr.

    Args:
        result: what was measured.
        markdown: print a Markdown table.
        given: whether the inputs were given; else they were random.
    """
    busy = result.conditions is not None and result.conditions.busy
    rows = [_emulated(variant) if result.emulated else _row(variant, busy=busy) for variant in result.variants]
    show(rows, "markdown" if markdown else "table", figures=True)
    say(inputs_line(result.inputs, given=given))
    for pair in result.comparisons:
        if pair.ratio is not None:
            interval = f"[{pair.low:.3f}, {pair.high:.3f}]"
            say(f"{pair.b} takes {pair.ratio:.3f} {interval} of {pair.a}'s time, {pair.confidence:.0%} confidence")
    for judgement in result.budgets:
        say(f"{judgement.verdict}: {judgement.variant}: {judgement.expression}: {judgement.reason}")
    for warning in result.warnings:
        warn(warning)


def _row(variant: VariantProfile, *, busy: bool) -> dict[str, str]:
    """Return the figures; times of a busy machine are marked: they hold the others' load, the ratio below does not."""
    mark = " (busy)" if busy else ""
    latency = {item.statistic: f"{item.value_ms:.3f} [{item.low_ms:.3f}, {item.high_ms:.3f}]{mark}" for item in variant.latency}
    quantiles = {f"{name} ms": latency.get(name, "too few runs") for name in ("p50", "p90", "p95")}
    return {
        "model": variant.name,
        **quantiles,
        "runs": f"{variant.n:,}",
        "load ms": "–" if variant.load_ms is None else f"{variant.load_ms:.1f}",
        "peak MB": "–" if variant.peak_rss_bytes is None else f"{variant.peak_rss_bytes / 1e6:.1f}",
        "size MB": f"{variant.size_bytes / 1e6:.3f}",
    }


def _emulated(variant: VariantProfile) -> dict[str, str]:
    """Return what an emulator shows: the distance of its outputs from the CPU's, and the provider of each partition."""
    numerics, placement = variant.numerics, variant.placement
    agreement = None if numerics is None else numerics.argmax_agreement
    return {
        "model": variant.name,
        "latency": NOT_MEASURED,
        "error against the CPU": _error(numerics),
        "same argmax": percent(agreement),
        "partitions": NONE if placement is None else str(placement.partitions),
        "fallback to the CPU": percent(None if placement is None else placement.cpu_fallback_share),
        "MACs in int8": percent(variant.int8_macs_share),
        "size MB": f"{variant.size_bytes / 1e6:.3f}",
    }


def _error(numerics: Numerics | None) -> str:
    if numerics is None:
        return NONE
    return "not finite" if numerics.relative_error is None else f"{numerics.relative_error:.2e} of the largest output"
