"""Print a profile."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from edgeopt.profile.result import ProfileResult


def show_profile(result: ProfileResult, *, markdown: bool) -> None:
    """Print the variants as a table, then the ratios and budgets; warnings go to stderr."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.MARKDOWN if markdown else None)
    for column in ("model", "p50 ms", "p90 ms", "p95 ms", "runs", "load ms", "peak MB", "size MB"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for variant in result.variants:
        latency = {item.statistic: f"{item.value_ms:.3f} [{item.low_ms:.3f}, {item.high_ms:.3f}]" for item in variant.latency}
        peak = "–" if variant.peak_rss_bytes is None else f"{variant.peak_rss_bytes / 1e6:.1f}"
        load = "–" if variant.load_ms is None else f"{variant.load_ms:.1f}"
        quantiles = [latency.get(name, "too few runs") for name in ("p50", "p90", "p95")]
        figures = [f"{variant.n:,}", load, peak, f"{variant.size_bytes / 1e6:.3f}"]
        table.add_row(variant.name, *quantiles, *figures)
    console = Console(highlight=False, markup=False, width=160 if markdown else None if sys.stdout.isatty() else 120)
    console.print(table)
    for pair in result.comparisons:
        if pair.ratio is not None:
            interval = f"[{pair.low:.3f}, {pair.high:.3f}]"
            console.print(f"{pair.b} takes {pair.ratio:.3f} {interval} of {pair.a}'s time, {pair.confidence:.0%} confidence")
    for judgement in result.budgets:
        console.print(f"{judgement.verdict}: {judgement.variant}: {judgement.expression}: {judgement.reason}")
    for warning in result.warnings:
        typer.echo(f"warning: {warning}", err=True)
