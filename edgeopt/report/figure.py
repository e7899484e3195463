"""Parts of every plot of the report: its value, colours, axes, and escaped names.

Names in plots are untrusted and plotly reads a subset of HTML in every text: all of them pass through `label`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from edgeopt.escaping import printable
from edgeopt.interval import Interval
from edgeopt.report.model import Report

Trace = dict[str, Any]

_COLOURS = {
    "teacher": "#8b5cf6",
    "distill": "#0ea5e9",
    "prune": "#ec4899",
    "fp32": "#f59e0b",
    "int8": "#10b981",
    "int4": "#10b981",
}
_OTHERS = ("#6366f1", "#f43f5e", "#84cc16", "#06b6d4", "#a16207")


@dataclass(frozen=True)
class Figure:
    """A plot: `traces` and `layout` are plotly's; `caption` states what is shown, in which units, from how many runs."""

    id: str
    title: str
    caption: str
    traces: Sequence[Trace]
    layout: Mapping[str, Any]
    wide: bool = False
    head: Sequence[str] = ()
    """Columns of the table with the same figures, for readers who cannot see the plot; () if another table has them."""
    rows: Sequence[Sequence[str]] = ()


def colour(name: str, report: Report) -> str:
    """Return the colour of a variant or a training stage, the same in every plot."""
    if name in _COLOURS:
        return _COLOURS[name]
    others = sorted({variant.name for variant in report.variants} - set(_COLOURS))
    return _OTHERS[others.index(name) % len(_OTHERS)] if name in others else _OTHERS[0]


def label(name: str, limit: int = 32) -> str:
    """Return an untrusted name for plotly: shortened in its middle, markup escaped (plotly decodes no more than that)."""
    name = printable(name)
    shown = name if len(name) <= limit else f"{name[: limit // 2 - 1]}…{name[-(limit // 2) :]}"
    return escape(shown, quote=False)


def conditions(report: Report) -> str:
    """Return "CPUExecutionProvider, 1 thread", as far as known."""
    threads = report.conditions.threads
    parts = [report.conditions.provider, None if threads is None else f"{threads} thread{'s' if threads != 1 else ''}"]
    return ", ".join(part for part in parts if part)


def log_axis(start: float, end: float) -> Mapping[str, Any]:
    """Return a logarithmic axis with whole numbers at its ticks: 1, 2 and 5 times each power of ten."""
    powers = range(math.floor(math.log10(start)), math.ceil(math.log10(end)) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    shown = [tick for tick in ticks if start <= tick <= end]
    texts = [f"{tick:,.6g}" for tick in shown]
    return {"type": "log", "range": [math.log10(start), math.log10(end)], "tickvals": shown, "ticktext": texts}


def time_bars(height: int) -> Mapping[str, Any]:
    """Return the layout of a plot of times per run: one row per name, one bar per variant, the first variant on top."""
    return {
        "xaxis": {"title": {"text": "time per run (ms)"}},
        "yaxis": {"type": "category", "automargin": True},
        "barmode": "group",
        "bargap": 0.25,
        "legend": {"traceorder": "reversed"},
        "height": height,
    }


def bars(value: float, low: float | None, high: float | None, hue: str) -> Trace:
    """Return error bars from `low` to `high` around `value`; none where a bound is unknown."""
    if low is None or high is None:
        return {"visible": False}
    plus, minus = max(0.0, high - value), max(0.0, value - low)
    return {
        "type": "data",
        "symmetric": False,
        "array": [plus],
        "arrayminus": [minus],
        "thickness": 1.5,
        "width": 4,
        "color": hue,
    }


def faint(hue: str) -> tuple[int, int, int, float]:
    """Return the colour #rrggbb as plotly's (r, g, b, 0.55)."""
    return int(hue[1:3], 16), int(hue[3:5], 16), int(hue[5:7], 16), 0.55


def bounds(interval: Interval) -> tuple[float, float | None, float | None]:
    """Return value, low and high of an interval."""
    return interval.value, interval.low, interval.high
