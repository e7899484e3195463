"""The latency plots: distribution of the runs, runs over time, and ratios between variants."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from edgeopt import units
from edgeopt.report.figure import Figure, Trace, bars, bounds, colour, conditions, faint, label, log_axis
from edgeopt.report.model import Report, Speed, Variant

_BINS = 80
_WIDE = 3.0
_MARKS = (("p50", "circle"), ("p90", "square"), ("p95", "diamond"), ("p99", "star"))
_MARKS_SAID = "circle: median, square: p90, diamond: p95, star: p99"


def timed(report: Report) -> list[tuple[Variant, Speed]]:
    """Return the variants whose single runs are recorded."""
    return [(variant, variant.speed) for variant in report.variants if variant.speed and len(variant.speed.samples_ms) > 1]


def latency_distribution(report: Report) -> Figure | None:
    """Plot the distribution of each variant's latency: one ridge each, with its percentiles below."""
    shown = timed(report)
    if not shown:
        return None
    start = 0.95 * min(min(speed.samples_ms) for _, speed in shown)
    end = 1.05 * max(_far(speed) for _, speed in shown)
    log = end > 8 * start > 0
    edges = _edges(start, end, log=log)
    beyond = sum(sample > end for _, speed in shown for sample in speed.samples_ms)
    traces: list[Trace] = []
    for row, (variant, speed) in enumerate(reversed(shown)):
        traces += [_ridge(variant, speed, edges, row, report), *_marks(variant, speed, row, report)]
    runs = ", ".join(f"{variant.name} n = {speed.runs or len(speed.samples_ms):,}" for variant, speed in shown)
    cut = f" {_runs(beyond)} beyond the right edge." if beyond else ""
    axis = log_axis(start, end) if log else {"range": [start, end]}
    return Figure(
        "latency",
        "Latency, run by run",
        f"Histogram of the runs, without warm-up ({runs}; {conditions(report)}). "
        f"{_MARKS_SAID.capitalize()}, each with its confidence interval.{_withheld(shown)}{cut}",
        traces,
        {
            "xaxis": {"title": {"text": "latency (ms)"}, **axis},
            "yaxis": {
                "tickvals": list(range(len(shown))),
                "ticktext": [label(variant.name) for variant, _ in reversed(shown)],
                "range": [-0.25, len(shown)],
                "showgrid": False,
                "zeroline": False,
            },
            "showlegend": False,
        },
        head=("model", *(name for name, _ in _MARKS)),
        rows=[(variant.name, *(_said(speed, name) for name, _ in _MARKS)) for variant, speed in shown],
    )


def _said(speed: Speed, statistic: str) -> str:
    if statistic not in speed.latency_ms and statistic in speed.withheld:
        return f"needs {speed.withheld[statistic]:,} runs"
    return units.milliseconds_interval(speed.latency_ms.get(statistic))


def _withheld(shown: Sequence[tuple[Variant, Speed]]) -> str:
    """Return a sentence on the percentiles that are not drawn, and how many runs each would need."""
    needs: dict[str, tuple[int, list[str]]] = {}
    for variant, speed in shown:
        for statistic, runs in speed.withheld.items():
            needs.setdefault(statistic, (runs, []))[1].append(variant.name)
    parts = [f"{statistic} of {', '.join(names)} (needs {runs:,} runs)" for statistic, (runs, names) in needs.items()]
    return f" Withheld because of too few runs: {'; '.join(parts)}." if parts else ""


def _runs(count: int) -> str:
    return "1 slower run is" if count == 1 else f"{count:,} slower runs are"


def _far(speed: Speed) -> float:
    """Return the right end of a variant: the larger of its 99th percentile and the ends of all intervals."""
    ends = [interval.high or interval.value for interval in speed.latency_ms.values()]
    return max([_quantile(speed.samples_ms, 0.99), *ends])


def _edges(start: float, end: float, *, log: bool) -> list[float]:
    """Return the edges of `_BINS` bins of equal width on the plot's axis."""
    steps = [index / _BINS for index in range(_BINS + 1)]
    return [start * (end / start) ** step if log else start + (end - start) * step for step in steps]


def _ridge(variant: Variant, speed: Speed, edges: Sequence[float], row: int, report: Report) -> Trace:
    """Draw a histogram whose highest bin is 0.8 high, as an outline above `row`."""
    counts = [0] * _BINS
    for sample in speed.samples_ms:
        if edges[0] <= sample < edges[-1]:
            counts[bisect_right(edges, sample) - 1] += 1
    highest = max(counts) or 1
    return {
        "type": "scatter",
        "mode": "lines",
        "name": label(variant.name),
        "x": [edges[0], *(edge for low, high in pairwise(edges) for edge in (low, high)), edges[-1]],
        "y": [row, *(row + 0.8 * count / highest for count in counts for _ in range(2)), row],
        "line": {"color": colour(variant.name, report), "width": 1.5},
        "fill": "toself",
        "fillcolor": f"rgba{faint(colour(variant.name, report))}",
        "hoverinfo": "skip",
    }


def _marks(variant: Variant, speed: Speed, row: int, report: Report) -> list[Trace]:
    hue = colour(variant.name, report)
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": label(variant.name),
            "x": [speed.latency_ms[statistic].value],
            "y": [row - 0.05 * place],
            "marker": {"color": hue, "size": 8, "symbol": symbol},
            "error_x": bars(*bounds(speed.latency_ms[statistic]), hue),
            "hovertemplate": f"{statistic} %{{x:.4f}} ms<extra>{label(variant.name)}</extra>",
        }
        for place, (statistic, symbol) in enumerate(_MARKS)
        if statistic in speed.latency_ms
    ]


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def latency_over_time(report: Report) -> Figure | None:
    """Plot the counted runs in their order, relative to their median, to show drift and disturbances."""
    shown = [(variant, speed) for variant, speed in timed(report) if _quantile(speed.samples_ms, 0.5) > 0]
    if not shown:
        return None
    traces = [_series(variant, speed, report) for variant, speed in shown]
    top = max(_quantile(speed.samples_ms, 0.99) / _quantile(speed.samples_ms, 0.5) for _, speed in shown)
    bottom = min(min(speed.samples_ms) / _quantile(speed.samples_ms, 0.5) for _, speed in shown)
    beyond = sum(sample > 1.05 * top * _quantile(speed.samples_ms, 0.5) for _, speed in shown for sample in speed.samples_ms)
    cut = f" {_runs(beyond)} above the edge." if beyond else ""
    axis = log_axis(0.97 * bottom, 1.05 * top) if top > _WIDE * bottom > 0 else {"range": [0.97 * bottom, 1.05 * top]}
    return Figure(
        "over-time",
        "The runs, one after the other",
        "Each counted run relative to its variant's median: a rising line is drift, a cluster of high points a disturbance. "
        f"Warm-up is left out.{cut}",
        traces,
        {
            "xaxis": {"title": {"text": "share of the measurement (%)"}, "range": [0, 100]},
            "yaxis": {"title": {"text": "latency / median"}, **axis},
        },
        head=("model", "runs", "warm-up runs left out", "steady", "drift", "outliers"),
        rows=[
            (
                variant.name,
                f"{speed.runs or len(speed.samples_ms):,}",
                units.NONE if speed.warmup_runs is None else f"{speed.warmup_runs:,}",
                {True: "yes", False: "never", None: units.NONE}[speed.steady],
                "none" if speed.drift_share == 0 else units.percent(speed.drift_share),
                units.NONE if speed.outliers is None else f"{speed.outliers:,}",
            )
            for variant, speed in shown
        ],
    )


def _series(variant: Variant, speed: Speed, report: Report) -> Trace:
    count, middle = len(speed.samples_ms), _quantile(speed.samples_ms, 0.5)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": label(variant.name),
        "x": [round(100 * (place + 0.5) / count, 2) for place in range(count)],
        "y": [round(sample / middle, 4) for sample in speed.samples_ms],
        "marker": {"color": colour(variant.name, report), "size": 3, "opacity": 0.55},
        "hovertemplate": f"%{{y:.3f}} × {middle:.4g} ms<extra>{label(variant.name)}</extra>",
    }


def ratios(report: Report) -> Figure | None:
    """Plot the speed of each variant relative to the baseline, with the interval of the ratio and the decision."""
    shown = [(variant, variant.speed) for variant in report.variants if variant.speed and variant.speed.speedup]
    if not shown:
        return None
    traces: list[Trace] = []
    ends = [1.0]
    for row, (variant, speed) in enumerate(reversed(shown)):
        if speed.speedup is None:
            continue
        value, low, high = bounds(speed.speedup)
        ends += [low or value, high or value]
        hue = colour(variant.name, report)
        said = f"{label(variant.name)}: {units.times_interval(speed.speedup)}, {speed.decision}"
        marker = {"color": hue, "size": 11}
        point: dict[str, Any] = {"type": "scatter", "mode": "markers", "x": [value], "y": [row], "marker": marker}
        traces.append({**point, "error_x": bars(value, low, high, hue), "hovertemplate": f"{said}<extra></extra>"})
    start, end = min(ends), max(ends)
    axis = log_axis(0.8 * start, 1.25 * end)
    line = {"width": 1, "dash": "dot", "color": "#8f9bab"}
    return Figure(
        "ratios",
        f"Speed relative to {report.baseline}",
        f"Time of {report.baseline} divided by the variant's, paired round by round, with its confidence interval; "
        "right of the line is faster. Variants were measured interleaved, so disturbances affect all of them.",
        traces,
        {
            "xaxis": {"title": {"text": f"times as fast as {label(report.baseline)}"}, **axis},
            "yaxis": {
                "tickvals": list(range(len(shown))),
                "ticktext": [label(variant.name) for variant, _ in reversed(shown)],
                "range": [-0.6, len(shown) - 0.4],
                "showgrid": False,
                "zeroline": False,
            },
            "shapes": [{"type": "line", "x0": 1, "x1": 1, "yref": "paper", "y0": 0, "y1": 1, "line": line}],
            "showlegend": False,
            "height": max(220, 110 + 46 * len(shown)),
        },
        head=("model", f"times as fast as {report.baseline}", "decision"),
        rows=[(variant.name, units.times_interval(speed.speedup), speed.decision or units.NONE) for variant, speed in shown],
    )
