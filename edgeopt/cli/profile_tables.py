"""Print a profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeopt.cli.output import say, warn
from edgeopt.cli.tables import show

if TYPE_CHECKING:
    from edgeopt.profile.result import ProfileResult, VariantProfile


def show_profile(result: ProfileResult, *, markdown: bool) -> None:
    """Print the variants as a table, then the ratios and budgets; warnings go to stderr."""
    show([_row(variant) for variant in result.variants], "markdown" if markdown else "table", figures=True)
    for pair in result.comparisons:
        if pair.ratio is not None:
            interval = f"[{pair.low:.3f}, {pair.high:.3f}]"
            say(f"{pair.b} takes {pair.ratio:.3f} {interval} of {pair.a}'s time, {pair.confidence:.0%} confidence")
    for judgement in result.budgets:
        say(f"{judgement.verdict}: {judgement.variant}: {judgement.expression}: {judgement.reason}")
    for warning in result.warnings:
        warn(warning)


def _row(variant: VariantProfile) -> dict[str, str]:
    latency = {item.statistic: f"{item.value_ms:.3f} [{item.low_ms:.3f}, {item.high_ms:.3f}]" for item in variant.latency}
    quantiles = {f"{name} ms": latency.get(name, "too few runs") for name in ("p50", "p90", "p95")}
    return {
        "model": variant.name,
        **quantiles,
        "runs": f"{variant.n:,}",
        "load ms": "–" if variant.load_ms is None else f"{variant.load_ms:.1f}",
        "peak MB": "–" if variant.peak_rss_bytes is None else f"{variant.peak_rss_bytes / 1e6:.1f}",
        "size MB": f"{variant.size_bytes / 1e6:.3f}",
    }
