"""The page of `edgeopt prune --levels`: metric, latency and size against level, and what each part bears, as plain SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 420, 240, 60, 40, 16
_HUES = ("#0ea5e9", "#ec4899", "#10b981", "#f59e0b", "#8b5cf6", "#f43f5e", "#84cc16", "#06b6d4")
_STYLE = (
    "body{font:15px system-ui;margin:2rem;max-width:72rem}table{border-collapse:collapse}td,th{padding:.25rem .7rem;"
    "text-align:right;border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}figure{display:inline-block;"
    "margin:1rem 1rem 1rem 0}figcaption{font-size:13px;color:#555}"
)

Points = Sequence[tuple[float, float]]


def levels_page(title: str, levels: Sequence[Mapping[str, Any]], parts: Sequence[Mapping[str, Any]]) -> str:
    """Return the page.

    Args:
        title: of the page.
        levels: rows with level, parameters, macs, size_bytes, latency_ms, metric, value and problem; level 0 first.
        parts: rows with name, kind, units and divergence by units left.
    """
    done = [row for row in levels if not row["problem"]]
    metric = next((str(row["metric"]) for row in done if row["metric"]), "metric")
    figures = [
        _figure(metric, "level (% removed)", {metric: _points(done, "value")}),
        _figure("latency", "level (% removed)", {"ms": _points(done, "latency_ms")}),
        _figure("size", "level (% removed)", {"MB": [(x, y / 1e6) for x, y in _points(done, "size_bytes")]}),
        _figure(f"{metric} against latency", "ms", {metric: _pairs(done, "latency_ms", "value")}),
    ]
    for kind in dict.fromkeys(str(row["kind"]) for row in parts):
        lines = {str(row["name"]): _shares(row) for row in parts if row["kind"] == kind}
        figures.append(_figure(f"divergence with one part pruned: {kind}", "% of its units removed", lines))
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title><style>{_STYLE}</style>"
        f"<h1>{escape(title)}</h1>{_table(levels)}{''.join(figures)}</html>\n"
    )


def _table(levels: Sequence[Mapping[str, Any]]) -> str:
    head = ("level", "parameters", "multiply-accumulates", "MB", "ms", "metric")
    rows = []
    for row in levels:
        if row["problem"]:
            rows.append(f"<tr><td>{row['level']} %<td colspan=5>{escape(str(row['problem']))}")
            continue
        latency = "–" if row["latency_ms"] is None else f"{row['latency_ms']:.3f}"
        value = "–" if row["value"] is None else f"{row['value']:.4f}"
        cells = (
            f"{row['level']} %",
            f"{row['parameters']:,}",
            f"{row['macs']:,}",
            f"{row['size_bytes'] / 1e6:.2f}",
            latency,
            value,
        )
        rows.append("<tr>" + "".join(f"<td>{cell}" for cell in cells))
    return f"<table><tr>{''.join(f'<th>{name}' for name in head)}{''.join(rows)}</table>"


def _points(rows: Sequence[Mapping[str, Any]], name: str) -> Points:
    return [(float(row["level"]), float(row[name])) for row in rows if row[name] is not None]


def _pairs(rows: Sequence[Mapping[str, Any]], x: str, y: str) -> Points:
    return sorted((float(row[x]), float(row[y])) for row in rows if row[x] is not None and row[y] is not None)


def _shares(row: Mapping[str, Any]) -> Points:
    return sorted((100 * (1 - int(left) / row["units"]), float(value)) for left, value in row["divergence"].items())


def _figure(title: str, across: str, lines: Mapping[str, Points]) -> str:
    """Return a line plot, or nothing if there are not two points."""
    places = [point for line in lines.values() for point in line]
    if len(places) < 2:
        return ""
    low_x, high_x = min(x for x, _ in places), max(x for x, _ in places)
    low_y, high_y = min(y for _, y in places), max(y for _, y in places)

    def at(x: float, y: float) -> str:
        across = (x - low_x) / (high_x - low_x or 1)
        up = (y - low_y) / (high_y - low_y or 1)
        return f"{_LEFT + across * (_WIDTH - _LEFT - 12):.1f},{_HEIGHT - _BOTTOM - up * (_HEIGHT - _BOTTOM - _TOP):.1f}"

    drawn = []
    for place, (name, line) in enumerate(lines.items()):
        hue = _HUES[place % len(_HUES)]
        path = " ".join(at(x, y) for x, y in line)
        said = [(at(x, y).split(","), f"{escape(name)}: {x:.4g} → {y:.4g}") for x, y in line]
        dots = "".join(f"<circle cx={x} cy={y} r=3 fill='{hue}'><title>{text}</title></circle>" for (x, y), text in said)
        drawn.append(f"<polyline points='{path}' fill=none stroke='{hue}' stroke-width=2 />{dots}")
    ticks = "".join(
        f"<text x={_LEFT - 6} y={float(at(low_x, y).split(',')[1]) + 4:.1f} text-anchor=end font-size=11>{y:.4g}</text>"
        for y in (low_y, high_y)
    ) + "".join(
        f"<text x={at(x, low_y).split(',')[0]} y={_HEIGHT - _BOTTOM + 16} text-anchor=middle font-size=11>{x:.4g}</text>"
        for x in (low_x, high_x)
    )
    axes = f"<path d='M{_LEFT} {_TOP}V{_HEIGHT - _BOTTOM}H{_WIDTH - 8}' fill=none stroke='#999' />"
    label = f"<text x={_WIDTH / 2} y={_HEIGHT - 6} text-anchor=middle font-size=12>{escape(across)}</text>"
    return (
        f"<figure><figcaption>{escape(title)}</figcaption><svg width={_WIDTH} height={_HEIGHT} role=img "
        f"aria-label='{escape(title, quote=True)}'>{axes}{ticks}{label}{''.join(drawn)}</svg></figure>"
    )
