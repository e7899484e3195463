"""The plots, as plotly's own JSON: made of plain values, without importing plotly, so they are the same bytes every time.

Names in them are a stranger's and plotly reads a subset of HTML in every text: all of them pass through `label`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any

from edgeopt.report.model import Interval, Report, Speed, Variant
from edgeopt.report.units import count, figures, size

Trace = dict[str, Any]

_COLOURS = {"teacher": "#8b5cf6", "distill": "#0ea5e9", "prune": "#ec4899", "fp32": "#f59e0b", "int8": "#10b981"}
_OTHERS = ("#6366f1", "#f43f5e", "#84cc16", "#06b6d4", "#a16207")
_BAD_DB, _FAIR_DB, _CEILING_DB = 20.0, 30.0, 80.0
_OPERATORS = 12
_BINS = 80


@dataclass(frozen=True)
class Figure:
    """A plot: `traces` and `layout` are plotly's; `caption` says what is shown, in units, from how many runs."""

    id: str
    title: str
    caption: str
    traces: Sequence[Trace]
    layout: Mapping[str, Any]
    wide: bool = False


def all_figures(report: Report) -> list[Figure]:
    """Return the plots there are figures for, in the order they are shown."""
    makers = (trade_off, latency_distribution, operator_times, layer_noise, training_curves)
    return [figure for figure in (maker(report) for maker in makers) if figure is not None]


def colour(name: str, report: Report) -> str:
    """Return the colour a variant or a training stage has in every plot."""
    if name in _COLOURS:
        return _COLOURS[name]
    others = sorted({variant.name for variant in report.variants} - set(_COLOURS))
    return _OTHERS[others.index(name) % len(_OTHERS)] if name in others else _OTHERS[0]


def label(name: str, limit: int = 32) -> str:
    """Return a stranger's name as plotly shows it: cut in its middle, markup escaped (plotly decodes no more than that)."""
    shown = name if len(name) <= limit else f"{name[: limit // 2 - 1]}…{name[-(limit // 2) :]}"
    return escape(shown, quote=False)


def conditions(report: Report) -> str:
    """Return "CPUExecutionProvider, 1 thread", as far as it is known."""
    threads = report.conditions.threads
    parts = [report.conditions.provider, None if threads is None else f"{threads} thread{'s' if threads != 1 else ''}"]
    return ", ".join(part for part in parts if part)


def trade_off(report: Report) -> Figure | None:
    """Accuracy against median latency, or against size where nothing was timed."""
    timed = [variant for variant in report.variants if variant.accuracy and variant.speed and "p50" in variant.speed.latency_ms]
    sized = [variant for variant in report.variants if variant.accuracy and variant.size_bytes]
    shown, by_time = (timed, True) if len(timed) > 1 else (sized, False)
    if len(shown) < 2:
        return None
    largest = max(variant.size_bytes or 0 for variant in shown) or 1
    traces = [_point(variant, report, by_time, largest) for variant in shown]
    axis = "median latency (ms)" if by_time else "size (bytes)"
    places = [_place(variant, by_time)[0] for variant in shown]
    metric = report.conditions.metric
    where = f", {conditions(report)}" if by_time and conditions(report) else ""
    return Figure(
        "trade-off",
        "What each step costs and brings",
        f"{metric.capitalize()} on {report.conditions.evaluation_samples or '?'} samples against {axis}{where}; "
        "up and to the left is better. Bars are confidence intervals, areas are file sizes.",
        traces,
        {
            "xaxis": {"title": {"text": axis}, **_axis(places)},
            "yaxis": {"title": {"text": f"{label(metric)} (%)"}},
            "showlegend": False,
        },
    )


def _axis(values: Sequence[float]) -> Mapping[str, Any]:
    """Return a logarithmic axis (ticks at 1, 2, 5) for values that span more than a factor of eight, with room for names."""
    low, high = min(values), max(values)
    if high > 8 * low > 0:
        return _log_axis(0.7 * low, 2.2 * high)
    margin = 0.15 * ((high - low) or high)
    return {"type": "linear", "range": [max(0.0, low - margin), high + 2 * margin]}


def _log_axis(start: float, end: float) -> Mapping[str, Any]:
    """Return a logarithmic axis with whole numbers at its ticks: 1, 2 and 5 times each power of ten."""
    powers = range(math.floor(math.log10(start)), math.ceil(math.log10(end)) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    shown = [tick for tick in ticks if start <= tick <= end]
    texts = [f"{tick:,.6g}" for tick in shown]
    return {"type": "log", "range": [math.log10(start), math.log10(end)], "tickvals": shown, "ticktext": texts}


def _place(variant: Variant, by_time: bool) -> tuple[float, float | None, float | None]:
    if by_time and variant.speed:
        return _bounds(variant.speed.latency_ms["p50"])
    return float(variant.size_bytes or 0), None, None


def _point(variant: Variant, report: Report, by_time: bool, largest: int) -> Trace:
    x, low, high = _place(variant, by_time)
    accuracy = variant.accuracy
    if accuracy is None:
        raise ValueError(f"variant {variant.name} has no accuracy to place it by")
    y = 100 * accuracy.value
    bounds = tuple(None if bound is None else 100 * bound for bound in (accuracy.low, accuracy.high))
    name = label(variant.name)
    hue = colour(variant.name, report)
    return {
        "type": "scatter",
        "mode": "markers+text",
        "name": name,
        "x": [x],
        "y": [y],
        "text": [f"  {name}"],
        "textposition": "middle right",
        "cliponaxis": False,
        "marker": {
            "size": 12 + 26 * ((variant.size_bytes or 0) / largest) ** 0.5,
            "color": hue,
            "opacity": 0.85,
            "line": {"width": 0},
        },
        "error_x": _bars(x, low, high, hue),
        "error_y": _bars(y, bounds[0], bounds[1], f"rgba{_faint(hue)}"),
        "hovertemplate": f"<b>{name}</b><br>%{{x}}<br>%{{y:.2f}} %<br>{size(variant.size_bytes)}<extra></extra>",
    }


def _bars(value: float, low: float | None, high: float | None, hue: str) -> Trace:
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


def _faint(hue: str) -> tuple[int, int, int, float]:
    return int(hue[1:3], 16), int(hue[3:5], 16), int(hue[5:7], 16), 0.55


def latency_distribution(report: Report) -> Figure | None:
    """How the latency of each variant is distributed over its runs: one ridge each, with median and p95 under it."""
    shown = [(variant, variant.speed) for variant in report.variants if variant.speed and len(variant.speed.samples_ms) > 1]
    if not shown:
        return None
    start = 0.95 * min(min(speed.samples_ms) for _, speed in shown)
    end = 1.05 * max(_quantile(speed.samples_ms, 0.99) for _, speed in shown)
    log = end > 8 * start > 0
    edges = _edges(start, end, log=log)
    beyond = sum(sample > end for _, speed in shown for sample in speed.samples_ms)
    traces: list[Trace] = []
    for row, (variant, speed) in enumerate(reversed(shown)):
        traces += [_ridge(variant, speed, edges, row, report), *_marks(variant, speed, row, report)]
    runs = ", ".join(f"{variant.name} n = {speed.runs or len(speed.samples_ms):,}" for variant, speed in shown)
    cut = f" {beyond} slower runs lie beyond the right edge." if beyond else ""
    axis = _log_axis(start, end) if log else {"range": [start, end]}
    return Figure(
        "latency",
        "Latency, run by run",
        f"How many runs took how long, warm-up excluded ({runs}; {conditions(report)}). "
        f"Circle: median, diamond: 95th percentile, with their confidence intervals.{cut}",
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
    )


def _edges(start: float, end: float, *, log: bool) -> list[float]:
    """Return the borders of `_BINS` bins, equally wide on the axis they are drawn on."""
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
        "fillcolor": f"rgba{_faint(colour(variant.name, report))}",
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
            "y": [row],
            "marker": {"color": hue, "size": 8, "symbol": symbol},
            "error_x": _bars(*_bounds(speed.latency_ms[statistic]), hue),
            "hovertemplate": f"{statistic} %{{x:.4f}} ms<extra>{label(variant.name)}</extra>",
        }
        for statistic, symbol in (("p50", "circle"), ("p95", "diamond"))
        if statistic in speed.latency_ms
    ]


def _bounds(interval: Interval) -> tuple[float, float | None, float | None]:
    return interval.value, interval.low, interval.high


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def operator_times(report: Report) -> Figure | None:
    """Time of each kind of operator, side by side for the variants."""
    sums: dict[str, dict[str, float]] = {}
    for variant in report.variants:
        for operator in variant.speed.operators if variant.speed else ():
            own = sums.setdefault(variant.name, {})
            own[operator.op] = own.get(operator.op, 0.0) + operator.ms
    sums = {name: sums[name] for name in sums if name in {"fp32", "int8"}} or sums
    if not sums:
        return None
    kinds = sorted({kind for times in sums.values() for kind in times}, key=lambda kind: (-_peak(sums, kind), kind))
    shown, rest = kinds[:_OPERATORS], kinds[_OPERATORS:]
    labels = [label(kind) for kind in shown] + ([f"{len(rest)} others"] if rest else [])
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": label(name),
            "y": labels[::-1],
            "x": [
                *([sum(times.get(kind, 0.0) for kind in rest)] if rest else []),
                *(times.get(kind, 0.0) for kind in reversed(shown)),
            ],
            "marker": {"color": colour(name, report)},
            "hovertemplate": "%{y}: %{x:.4f} ms<extra>" + label(name) + "</extra>",
        }
        for name, times in reversed(sums.items())
    ]
    return Figure(
        "operators",
        "Where the time goes",
        f"Mean time per run by kind of operator, from onnxruntime's profiler ({conditions(report)}). "
        "Profiling slows a run down: read the proportions, not the sums.",
        traces,
        {
            "xaxis": {"title": {"text": "time per run (ms)"}},
            "yaxis": {"type": "category", "automargin": True},
            "barmode": "group",
            "bargap": 0.25,
            "legend": {"traceorder": "reversed"},
            "height": max(320, 70 + len(labels) * 16 * (1 + len(sums))),
        },
    )


def _peak(sums: Mapping[str, Mapping[str, float]], kind: str) -> float:
    return max(times.get(kind, 0.0) for times in sums.values())


def layer_noise(report: Report) -> Figure | None:
    """Signal-to-quantization-noise ratio at each layer's output, in the order of the graph."""
    if not report.layers:
        return None
    heights = [max(0.0, min(layer.sqnr_db, _CEILING_DB)) for layer in report.layers]
    colours = [_noise_colour(layer.sqnr_db) for layer in report.layers]
    bad = sum(layer.sqnr_db < _BAD_DB for layer in report.layers)
    above = sum(layer.sqnr_db > _CEILING_DB for layer in report.layers)
    capped = f" {above} above {_CEILING_DB:g} dB are drawn at {_CEILING_DB:g}." if above else ""
    return Figure(
        "noise",
        "What quantization does to each layer",
        f"Signal-to-quantization-noise ratio (SQNR, dB) at the output of {len(heights)} nodes, in the order of the graph; "
        "higher is better, 6 dB are one bit. "
        f"{bad or 'None'} below {_BAD_DB:g} dB, where the noise is a tenth of the signal.{capped}",
        [
            {
                "type": "bar",
                "x": list(range(1, len(heights) + 1)),
                "y": heights,
                "marker": {"color": colours},
                "customdata": [[label(layer.name, 120), label(layer.op), figures(layer.sqnr_db)] for layer in report.layers],
                "hovertemplate": "<b>%{customdata[0]}</b><br>%{customdata[1]}<br>%{customdata[2]} dB<extra></extra>",
            }
        ],
        {
            "xaxis": {"title": {"text": "node, in graph order"}},
            "yaxis": {"title": {"text": "SQNR (dB)"}, "rangemode": "tozero"},
            "shapes": [_rule(_BAD_DB)],
            "bargap": 0.15,
            "showlegend": False,
        },
        wide=len(report.layers) > 60,
    )


def _noise_colour(sqnr_db: float) -> str:
    return "#ef4444" if sqnr_db < _BAD_DB else "#f59e0b" if sqnr_db < _FAIR_DB else "#10b981"


def _rule(height: float) -> Trace:
    line = {"color": "#ef4444", "width": 1, "dash": "dot"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": height, "y1": height, "line": line}


def training_curves(report: Report) -> Figure | None:
    """Loss, and accuracy where it was measured, over the epochs of each training stage."""
    stages = list(dict.fromkeys(epoch.stage for epoch in report.epochs))
    traces = []
    for stage in stages:
        epochs = [epoch for epoch in report.epochs if epoch.stage == stage]
        traces += _curve(stage, report, [(epoch.epoch, epoch.loss) for epoch in epochs], "x", "y")
        accuracies = [(epoch.epoch, None if epoch.accuracy is None else 100 * epoch.accuracy) for epoch in epochs]
        traces += _curve(stage, report, accuracies, "x2", "y2")
    if not traces:
        return None
    both = any(trace["xaxis"] == "x2" for trace in traces)
    losses = [epoch.loss for epoch in report.epochs if epoch.loss is not None and epoch.loss > 0]
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": "epoch"}, "domain": [0, 0.44 if both else 1]},
        "yaxis": {"title": {"text": "loss"}, **(_log_axis(0.8 * min(losses), 1.25 * max(losses)) if losses else {})},
        "legend": {"orientation": "h", "y": 1.15},
    }
    if both:
        layout["xaxis2"] = {"title": {"text": "epoch"}, "domain": [0.56, 1], "anchor": "y2"}
        layout["yaxis2"] = {"title": {"text": "accuracy (%)"}, "anchor": "x2"}
    lengths = ", ".join(f"{stage} {count(sum(epoch.stage == stage for epoch in report.epochs))} epochs" for stage in stages)
    return Figure("training", "Training", f"Mean loss of each epoch, each stage's own ({lengths}).", traces, layout, wide=True)


def _curve(stage: str, report: Report, points: Sequence[tuple[int, float | None]], x: str, y: str) -> list[Trace]:
    known = [(epoch, value) for epoch, value in points if value is not None]
    if not known:
        return []
    return [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": label(stage),
            "legendgroup": label(stage),
            "showlegend": x == "x",
            "x": [epoch for epoch, _ in known],
            "y": [value for _, value in known],
            "xaxis": x,
            "yaxis": y,
            "line": {"color": colour(stage, report), "width": 2},
            "marker": {"size": 5},
        }
    ]
