"""The plots, as plotly's own JSON: built from plain values, without importing plotly, so the bytes are always the same.

Names in them are untrusted and plotly reads a subset of HTML in every text: all of them pass through `label`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgeopt.quantize.result import LayerNoise
from edgeopt.report.execution_figures import coverage, memory, module_times, placement
from edgeopt.report.figure import Figure, Trace, bars, bounds, colour, conditions, faint, label, log_axis, time_bars
from edgeopt.report.limits import principal, roofline
from edgeopt.report.model import Report, Variant
from edgeopt.report.timing import latency_distribution, latency_over_time, ratios
from edgeopt.units import NONE, count, figures, milliseconds, size

_BAD_DB, _FAIR_DB, _CEILING_DB = 20.0, 30.0, 80.0
_OPERATORS = 12


def all_figures(report: Report) -> list[Figure]:
    """Return the plots for which there are figures, in the order they are shown."""
    makers = (
        trade_off,
        latency_distribution,
        ratios,
        latency_over_time,
        roofline,
        operator_times,
        module_times,
        placement,
        coverage,
        layer_noise,
        layer_sensitivity,
        memory,
        training_curves,
    )
    found = [figure for figure in (maker(report) for maker in makers) if figure is not None]
    narrow = [place for place, figure in enumerate(found) if not figure.wide]
    if len(narrow) % 2:  # plots are shown in pairs: an odd last one takes the whole row
        found[narrow[-1]] = replace(found[narrow[-1]], wide=True)
    return found


def trade_off(report: Report) -> Figure | None:
    """Plot accuracy over median latency, or over size where nothing was timed."""
    timed = [variant for variant in report.variants if variant.accuracy and variant.speed and "p50" in variant.speed.latency_ms]
    sized = [variant for variant in report.variants if variant.accuracy and variant.size_bytes]
    shown, by_time = (timed, True) if len(timed) > 1 else (sized, False)
    if len(shown) < 2:
        return None
    largest = max(variant.size_bytes or 0 for variant in shown) or 1
    traces = [_point(variant, report, by_time, largest) for variant in shown]
    axis = "median latency (ms)" if by_time else "size (bytes)"
    places = [_place(variant, by_time)[0] for variant in shown]
    metric = report.conditions.kind
    where = f", {conditions(report)}" if by_time and conditions(report) else ""
    return Figure(
        "trade-off",
        f"{metric.title} and {'latency' if by_time else 'size'} of each step",
        f"{metric.title} on {report.conditions.evaluation_samples or '?'} samples over {axis}{where}; "
        f"{'up' if metric.larger_is_better else 'down'} and to the left is better. "
        "Bars are confidence intervals, areas are file sizes.",
        traces,
        {
            "xaxis": {"title": {"text": axis}, **_axis(places)},
            "yaxis": {"title": {"text": label(metric.axis)}},
            "showlegend": False,
        },
    )


def _axis(values: Sequence[float]) -> Mapping[str, Any]:
    """Return a logarithmic axis (ticks at 1, 2, 5) for values that span more than a factor of eight, with room for names."""
    low, high = min(values), max(values)
    if high > 8 * low > 0:
        return log_axis(0.7 * low, 2.2 * high)
    margin = 0.15 * ((high - low) or high)
    return {"type": "linear", "range": [max(0.0, low - margin), high + 2 * margin]}


def _place(variant: Variant, by_time: bool) -> tuple[float, float | None, float | None]:
    if by_time and variant.speed:
        return bounds(variant.speed.latency_ms["p50"])
    return float(variant.size_bytes or 0), None, None


def _point(variant: Variant, report: Report, by_time: bool, largest: int) -> Trace:
    x, low, high = _place(variant, by_time)
    accuracy = variant.accuracy
    if accuracy is None:
        raise ValueError(f"variant {variant.name} has no accuracy")
    metric = report.conditions.kind
    y = metric.plotted(accuracy.value)
    bounds = tuple(None if bound is None else metric.plotted(bound) for bound in (accuracy.low, accuracy.high))
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
        "error_x": bars(x, low, high, hue),
        "error_y": bars(y, bounds[0], bounds[1], f"rgba{faint(hue)}"),
        "hovertemplate": f"<b>{name}</b><br>%{{x}}<br>{metric.text(accuracy.value)}<br>{size(variant.size_bytes)}"
        "<extra></extra>",
    }


def operator_times(report: Report) -> Figure | None:
    """Plot the time of each operator type for all variants."""
    sums: dict[str, dict[str, float]] = {}
    for variant in principal(report):
        for operator in variant.speed.operators if variant.speed else ():
            own = sums.setdefault(variant.name, {})
            own[operator.op] = own.get(operator.op, 0.0) + operator.ms
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
        f"Mean time per run by operator type, from onnxruntime's profiler ({conditions(report)}). "
        "Profiling slows a run down: read the proportions, not the sums.",
        traces,
        time_bars(max(320, 70 + len(labels) * 16 * (1 + len(sums)))),
        head=("operator", *sums),
        rows=[(kind, *(milliseconds(times[kind]) if kind in times else NONE for times in sums.values())) for kind in shown],
    )


def _peak(sums: Mapping[str, Mapping[str, float]], kind: str) -> float:
    return max(times.get(kind, 0.0) for times in sums.values())


def layer_noise(report: Report) -> Figure | None:
    """Plot the signal-to-quantization-noise ratio at each layer's output, in the order of the graph."""
    said = (
        "Signal-to-quantization-noise ratio (SQNR, dB) at the output of {count} nodes, in the order of the graph; "
        "higher is better, 6 dB are one bit. {bad} below {limit:g} dB, where the noise is a tenth of the signal.{capped}"
    )
    return _noise_bars("noise", "What quantization does to each layer", said, report.layers, "node, in graph order")


def layer_sensitivity(report: Report) -> Figure | None:
    """Plot the effect of quantizing one layer alone on the model's outputs, worst first."""
    said = (
        "SQNR (dB) at the model's outputs when one layer alone is quantized, the {count} measured, worst first: "
        "keep the left ones in floating point first. {bad} below {limit:g} dB.{capped}"
    )
    return _noise_bars("sensitivity", "What each layer alone costs", said, report.sensitivity, "layer, worst first")


def _noise_bars(name: str, title: str, said: str, layers: Sequence[LayerNoise], axis: str) -> Figure | None:
    if not layers:
        return None
    heights = [max(0.0, min(layer.sqnr_db, _CEILING_DB)) for layer in layers]
    bad = sum(layer.sqnr_db < _BAD_DB for layer in layers)
    above = sum(layer.sqnr_db > _CEILING_DB for layer in layers)
    capped = f" {above} above {_CEILING_DB:g} dB are drawn at {_CEILING_DB:g}." if above else ""
    return Figure(
        name,
        title,
        said.format(count=len(heights), bad=bad or "None", limit=_BAD_DB, capped=capped),
        [
            {
                "type": "bar",
                "x": list(range(1, len(heights) + 1)),
                "y": heights,
                "marker": {"color": [_noise_colour(layer.sqnr_db) for layer in layers]},
                "customdata": [[label(layer.name, 120), label(layer.op), figures(layer.sqnr_db)] for layer in layers],
                "hovertemplate": "<b>%{customdata[0]}</b><br>%{customdata[1]}<br>%{customdata[2]} dB<extra></extra>",
            }
        ],
        {
            "xaxis": {"title": {"text": axis}},
            "yaxis": {"title": {"text": "SQNR (dB)"}, "rangemode": "tozero"},
            "shapes": [_rule(_BAD_DB)],
            "bargap": 0.15,
            "showlegend": False,
        },
        wide=len(layers) > 60,
        head=("layer", "operator", "SQNR", "metric drop", "metric"),
        rows=[(layer.name, layer.op, f"{figures(layer.sqnr_db)} dB", layer.drop_text, layer.metric_text) for layer in layers],
    )


def _noise_colour(sqnr_db: float) -> str:
    return "#ef4444" if sqnr_db < _BAD_DB else "#f59e0b" if sqnr_db < _FAIR_DB else "#10b981"


def _rule(height: float) -> Trace:
    line = {"color": "#ef4444", "width": 1, "dash": "dot"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": height, "y1": height, "line": line}


def training_curves(report: Report) -> Figure | None:
    """Plot loss, and the metric where it was measured, over the epochs of each training stage."""
    metric = report.conditions.kind
    stages = list(dict.fromkeys(epoch.stage for epoch in report.epochs))
    traces = []
    for stage in stages:
        epochs = [epoch for epoch in report.epochs if epoch.stage == stage]
        traces += _curve(stage, report, [(epoch.epoch, epoch.loss) for epoch in epochs], "x", "y")
        accuracies = [(epoch.epoch, None if epoch.accuracy is None else metric.plotted(epoch.accuracy)) for epoch in epochs]
        traces += _curve(stage, report, accuracies, "x2", "y2")
    if not traces:
        return None
    both = any(trace["xaxis"] == "x2" for trace in traces)
    losses = [epoch.loss for epoch in report.epochs if epoch.loss is not None and epoch.loss > 0]
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": "epoch"}, "domain": [0, 0.44 if both else 1]},
        "yaxis": {"title": {"text": "loss"}, **(log_axis(0.8 * min(losses), 1.25 * max(losses)) if losses else {})},
        "legend": {"orientation": "h", "y": 1.15},
    }
    if both:
        layout["xaxis2"] = {"title": {"text": "epoch"}, "domain": [0.56, 1], "anchor": "y2"}
        layout["yaxis2"] = {"title": {"text": label(metric.axis)}, "anchor": "x2"}
    lengths = ", ".join(f"{stage} {_epoch_count(report, stage)} epochs" for stage in stages)
    return Figure("training", "Training", f"Mean loss of each epoch of each stage ({lengths}).", traces, layout, wide=True)


def _epoch_count(report: Report, stage: str) -> str:
    return count(sum(epoch.stage == stage and epoch.loss is not None for epoch in report.epochs))


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
