"""The roofline: how far operators are from the machine's peak rates, and which are worth a change.

Idea. An operator with I operations per byte that it touches can reach at most min(peak, I · bandwidth) operations per second
(Williams, Waterman & Patterson, "Roofline", CACM 52(4), 2009). The roofs are those of this machine, measured by the profile.
An operator could save at most its time less that bound; look at the largest savings first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgeopt import units
from edgeopt.profile.result import OperatorTime
from edgeopt.report.figure import Figure, Trace, colour, conditions, label, log_axis
from edgeopt.report.model import Report, Roof, Variant
from edgeopt.roles import Role

WORTH_COLUMNS = ("model", "operator", "kind", "time", "least", "could save", "of the model's time", "limited by")

_SHOWN = 10
_NAMED = 2
_LARGEST = 26


def principal(report: Report) -> list[Variant]:
    """Return the variants shown in detail: fp32 and int8 of a recipe, else all that were profiled."""
    profiled = [variant for variant in report.variants if variant.speed and variant.speed.operators]
    return [variant for variant in profiled if variant.role in {Role.BASELINE, Role.QUANTIZED}] or profiled


def worth_rows(report: Report) -> list[tuple[str, ...]]:
    """Return one row of `WORTH_COLUMNS` for each of the operators that could save most, largest saving first."""
    found = [
        (operator.ms - operator.bound_ms, variant.name, operator)
        for variant in principal(report)[-1:]
        for operator in (variant.speed.operators if variant.speed else ())
        if operator.bound_ms is not None and operator.ms > operator.bound_ms
    ]
    found.sort(key=lambda item: (-item[0], item[2].name))
    return [
        (
            name,
            f"{operator.name or '(no name)'} ({operator.op})",
            operator.kind or units.NONE,
            units.milliseconds(operator.ms),
            units.milliseconds(operator.bound_ms),
            units.milliseconds(saving),
            units.percent(operator.share),
            _limited_by(operator, report.roof),
        )
        for saving, name, operator in found[:_SHOWN]
    ]


def _limited_by(operator: OperatorTime, roof: Roof | None) -> str:
    if not operator.macs:
        return "memory"
    if roof is None or not operator.bytes:
        return units.NONE
    ridge = _peak(roof, operator.kind) / _bandwidth(roof, operator.bytes)
    return "arithmetic" if 2 * operator.macs / operator.bytes > ridge else "memory"


def _peak(roof: Roof, kind: str | None) -> float:
    return roof.operations_per_s.get(kind or "fp32") or max(roof.operations_per_s.values())


def _bandwidth(roof: Roof, size_bytes: int) -> float:
    """Return the bandwidth for an operator that touches `size_bytes`."""
    return next((rate for most, rate in roof.bandwidth if most >= size_bytes), roof.bandwidth[-1][1])


def roofline(report: Report) -> Figure | None:
    """Plot operations per second over operations per byte, one circle per operator, below the machine's measured roofs."""
    roof = report.roof
    points = [
        (variant, operator)
        for variant in principal(report)
        for operator in (variant.speed.operators if variant.speed else ())
        if operator.macs and operator.bytes and operator.ms > 0
    ]
    if roof is None or not points:
        return None
    intensities = [2 * operator.macs / operator.bytes for _, operator in points]
    rates = [2e-6 * operator.macs / operator.ms for _, operator in points]
    start, end = min(0.5, 0.7 * min(intensities)), max(400.0, 1.4 * max(intensities))
    shown = list(dict.fromkeys(variant.name for variant, _ in points))
    traces = [*_roofs(roof, start, end), *(_circles(name, points, report) for name in shown)]
    top = 2e-9 * max(roof.operations_per_s.values())
    return Figure(
        "roofline",
        "Roofline",
        f"Each circle is an operator that multiplies; its area is its share of the time ({conditions(report)}). The lines are "
        "the highest rates of this machine, measured once: flat where arithmetic is the limit, slanted where memory is. "
        "The vertical distance to the line is the possible gain; the slowest operators are named.",
        traces,
        {
            "xaxis": {"title": {"text": "operations per byte"}, **log_axis(start, end)},
            "yaxis": {"title": {"text": "GOP/s reached"}, **log_axis(min(0.5 * min(rates), top / 100), 1.5 * top)},
            "height": 460,
            "legend": {"orientation": "h", "y": -0.18, "yanchor": "top", "x": 0},
        },
        wide=True,
    )


def _roofs(roof: Roof, start: float, end: float) -> list[Trace]:
    """Draw one roof per arithmetic, over the fastest memory, and the slope of the slowest memory below."""
    traces: list[Trace] = []
    fastest = max(rate for _, rate in roof.bandwidth)
    for kind, peak in sorted(roof.operations_per_s.items(), key=lambda item: -item[1]):
        ridge = min(max(peak / fastest, start), end)
        name = f"{label(kind)}: {units.figures(peak / 1e9)} GOP/s, {units.figures(fastest / 1e9)} GB/s in cache"
        traces.append(_roof(name, [start, ridge, end], [min(peak, x * fastest) / 1e9 for x in (start, ridge, end)], "solid"))
    far = roof.bandwidth[-1][1]
    highest = max(roof.operations_per_s.values())
    if far < fastest:
        ridge = min(max(highest / far, start), end)
        ends = [start, ridge]
        name = f"memory beyond the caches: {units.figures(far / 1e9)} GB/s"
        traces.append(_roof(name, ends, [min(highest, x * far) / 1e9 for x in ends], "dot"))
    return traces


def _roof(name: str, x: Sequence[float], y: Sequence[float], dash: str) -> Trace:
    line = {"color": "#8f9bab", "width": 1.6, "dash": dash}
    return {"type": "scatter", "mode": "lines", "name": name, "x": list(x), "y": list(y), "line": line, "hoverinfo": "name"}


def _short(name: str) -> str:
    """Return a node's name without the suffix that onnxruntime appends when it changes the node's layout."""
    return re.sub(r"(_token_[0-9]+|_nchwc)+$", "", name)


def _circles(name: str, points: Sequence[tuple[Variant, OperatorTime]], report: Report) -> Trace:
    own = [operator for variant, operator in points if variant.name == name]
    slowest = sorted(own, key=lambda operator: -operator.ms)[:_NAMED]
    largest = max(operator.share for _, operator in points) or 1.0
    return {
        "type": "scatter",
        "mode": "markers+text",
        "name": label(name),
        "x": [2 * operator.macs / operator.bytes for operator in own],
        "y": [2e-6 * operator.macs / operator.ms for operator in own],
        "text": [label(_short(operator.name), 26) if operator in slowest else "" for operator in own],
        "textposition": [
            ("top center", "bottom center")[slowest.index(operator) % 2] if operator in slowest else "top center"
            for operator in own
        ],
        "textfont": {"size": 10.5},
        "marker": {
            "size": [6 + _LARGEST * (operator.share / largest) ** 0.5 for operator in own],
            "color": colour(name, report),
            "opacity": 0.7,
            "line": {"width": 0},
        },
        "customdata": [
            [
                label(operator.name, 80),
                label(operator.op),
                units.milliseconds(operator.ms),
                units.milliseconds(operator.bound_ms),
            ]
            for operator in own
        ],
        "hovertemplate": "<b>%{customdata[0]}</b><br>%{customdata[1]}, %{customdata[2]}, at least %{customdata[3]}<br>"
        "%{x:.3g} operations per byte, %{y:.3g} GOP/s<extra>" + label(name) + "</extra>",
    }
