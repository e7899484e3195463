"""The report as one HTML file that needs no network: it contains template, style and plotly.

Every text passes the template's auto-escaping or, in the plots' data, `figures.label` and JSON without "<"; a content
security policy forbids loading or sending anything.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from edgeopt import units
from edgeopt.escaping import printable
from edgeopt.interval import Interval
from edgeopt.report.figure import Figure, colour
from edgeopt.report.figures import all_figures
from edgeopt.report.limits import WORTH_COLUMNS, worth_rows
from edgeopt.report.model import Report, Variant
from edgeopt.report.table import (
    EXECUTION_COLUMNS,
    GENERATION_COLUMNS,
    columns,
    conditions_line,
    device_rows,
    execution_rows,
    generation_line,
    generation_rows,
    known_columns,
    table_title,
    variant_rows,
)
from edgeopt.roles import Role


def to_html(report: Report) -> str:
    """Return `report` as an HTML page; the same report gives the same bytes."""
    figures = all_figures(report)
    return (
        _environment()
        .get_template("page.html")
        .render(
            report=report,
            tiles=_tiles(report),
            table_title=table_title(report),
            columns=columns(report),
            known=known_columns(report),
            rows=list(zip(report.variants, variant_rows(report), strict=True)),
            conditions=conditions_line(report),
            device=device_rows(report),
            generation_columns=GENERATION_COLUMNS,
            generation_rows=generation_rows(report),
            generation_line=generation_line(report) if report.generations else "",
            execution_columns=EXECUTION_COLUMNS,
            execution_rows=execution_rows(report),
            largest=max((variant.size_bytes or 0 for variant in report.variants), default=0),
            slowest=max((_median(variant) or 0.0 for variant in report.variants), default=0.0),
            median=_median,
            colour=lambda name: colour(name, report),
            worth_columns=WORTH_COLUMNS,
            worth_rows=worth_rows(report),
            figures=figures,
            figures_json=_script_json([_plotly(figure) for figure in figures]),
            plotly=_plotly_source() if figures else "",
            recipe=json.dumps(report.recipe, indent=2, sort_keys=True, ensure_ascii=False),
        )
    )


def _tiles(report: Report) -> list[tuple[str, str, str]]:
    """Return (what, figure, comparison) for the last variant, the one that is shipped."""
    last = report.of(Role.QUANTIZED) or (report.variants[-1] if report.variants else None)
    base, first = report.variant(report.baseline), report.variants[0] if report.variants else None
    if last is None or first is None:
        return []
    tiles = []
    if last.accuracy:
        of = base if base and base is not last and base.accuracy else first
        compared = of.accuracy if of is not last else None
        metric = report.conditions.kind
        against = f"{metric.difference(last.accuracy.value - compared.value)} against {of.name}" if compared else ""
        tiles.append((f"{metric.name} of {last.name}", metric.interval(Interval(last.accuracy.value)), against))
    elif report.partings and report.partings[-1].relative_error is not None:
        tiles.append(
            ("output error", units.percent(report.partings[-1].relative_error, 2), f"against {report.partings[-1].source}")
        )
    if last.speed and "p50" in last.speed.latency_ms:
        against = f"{units.times(last.speed.speedup.value)} as fast as {report.baseline}" if last.speed.speedup else ""
        tiles.append(("median latency", units.milliseconds(last.speed.latency_ms["p50"].value), against))
    if last.size_bytes:
        tiles.append(("size", units.size(last.size_bytes), _less(first.size_bytes, last.size_bytes, first.name)))
    if last.macs and first is not last:
        tiles.append(("multiply-accumulates", units.count(last.macs), _less(first.macs, last.macs, first.name)))
    return tiles


def _less(before: int | None, after: int, name: str) -> str:
    if not before or before == after:
        return ""
    more, less = ("less", before / after) if before > after else ("more", after / before)
    return f"{units.times(less)} {more} than {name}"


def _median(variant: Variant) -> float | None:
    interval = variant.speed.latency_ms.get("p50") if variant.speed else None
    return interval.value if interval else None


def _plotly(figure: Figure) -> dict[str, Any]:
    return {"id": figure.id, "data": list(figure.traces), "layout": dict(figure.layout)}


def _script_json(values: Any) -> str:
    """Return JSON that is safe inside <script>: without "<", "&" and line separators that HTML or JavaScript would read."""
    text = json.dumps(values, sort_keys=True, allow_nan=False)  # ensure_ascii escapes U+2028 and U+2029
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _plotly_source() -> str:
    """Return plotly.js from the plotly package."""
    source = (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    return source.replace("</script", "<\\/script")


@cache
def _environment() -> Environment:
    folder = files("edgeopt.report") / "template"
    environment = Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        finalize=lambda value: printable(value, keep="\n\t") if type(value) is str else value,  # not Markup, which is ours
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "size": units.size,
        "percent": units.percent,
        "seconds": units.seconds,
        "share": lambda value, whole: value / whole if value and whole else None,
    }
    return environment
