"""The Pareto front: candidates that no other beats in metric, time and size at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgeopt.files import write_aside

FILE = "front.json"
PAGE = "front.html"


@dataclass(frozen=True)
class Point:
    """A candidate, as it was measured last."""

    name: str
    metric: float
    p50_ms: float | None
    size_bytes: float | None
    recipe: str
    """Path of the recipe that makes it again, from the folder of the search."""
    bundle: str
    """Path of its bundle."""
    setting: dict[str, Any] = field(default_factory=dict)
    p95_ms: float | None = None
    accuracy_drop: float | None = None
    trained: str = "full"
    """How far: full, short (the time ended before it was trained in full), untrained."""
    predicted_ms: float | None = None
    """p50 before it was trained: from the latency table, or measured untrained."""
    predicted_size_bytes: float | None = None
    predicted_error: float | None = None
    """What the dynamic programme expected to change at the outputs before any training, as a share of their power."""
    predicted_metric: float | None = None
    """After its short training."""
    missed: tuple[str, ...] = ()
    """The budgets that it misses."""
    targets: dict[str, dict[str, float]] = field(default_factory=dict)
    """The figures by target, where there are several."""
    merit: float | None = None
    """The metric as a number that is larger for a better model; None: it is one itself."""

    @property
    def rank(self) -> float:
        """What points are ordered by, larger is better."""
        return self.metric if self.merit is None else self.merit


@dataclass(frozen=True)
class Front:
    """What a search found."""

    metric: str
    points: tuple[Point, ...]
    """Best metric first; those that keep all budgets, or where there are none, the best that can be had."""
    budgets: tuple[str, ...]
    feasible: bool
    advice: str
    """What would have to give, where no candidate keeps the budgets; else empty."""
    tried: int
    trained: int
    seconds: float
    failed: dict[str, str] = field(default_factory=dict)
    """Candidates that could not be measured, with the reason."""
    unfinished: tuple[str, ...] = ()
    """Candidates that the end of the time interrupted; the same search run again goes on with them."""


def dominates(a: Point, b: Point) -> bool:
    """Return whether `a` is nowhere worse than `b` and somewhere better."""
    pairs = [(-a.rank, -b.rank), (a.p50_ms, b.p50_ms), (a.size_bytes, b.size_bytes)]
    known = [(x, y) for x, y in pairs if x is not None and y is not None]
    return all(x <= y for x, y in known) and any(x < y for x, y in known)


def front_of(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the points that no other dominates, best metric first."""
    kept = [point for point in points if not any(dominates(other, point) for other in points)]
    return tuple(sorted(kept, key=lambda point: (-point.rank, point.p50_ms or 0.0)))


def write_front(front: Front, folder: Path) -> Path:
    """Write the front as JSON and as a page into `folder`; return the JSON's path."""
    path = folder / FILE
    values = json.dumps(asdict(front), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    for place, text in ((path, values), (folder / PAGE, _page(front))):
        with write_aside(place) as aside:
            aside.write_text(text, encoding="utf-8")
    return path


def _page(front: Front) -> str:
    """Return a page with the plot (where plotly is installed) and the table."""
    from html import escape

    head = (
        "name",
        "trained",
        front.metric,
        "after short",
        "p50 ms",
        "predicted",
        "p95 ms",
        "MB",
        "predicted",
        "misses",
        "setting",
    )
    rows = [
        (
            point.name,
            point.trained,
            f"{point.metric:.4f}",
            "–" if point.predicted_metric is None else f"{point.predicted_metric:.4f}",
            _number(point.p50_ms),
            _number(point.predicted_ms),
            _number(point.p95_ms),
            _megabytes(point.size_bytes),
            _megabytes(point.predicted_size_bytes),
            "; ".join(point.missed) or "–",
            ", ".join(f"{key} = {json.dumps(value)}" for key, value in point.setting.items()),
        )
        for point in front.points
    ]
    cells = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    verdict = "All budgets are kept." if front.feasible else front.advice
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        "<title>Search</title><style>body{font:16px system-ui;margin:2rem auto;max-width:70rem;padding:0 1rem}"
        "table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ddd;padding:.4rem;text-align:left}</style>"
        f"<h1>Search</h1><p>{escape(verdict)} {front.tried} candidates tried, {front.trained} trained in full, "
        f"{front.seconds:.0f} s. Budgets: {escape(', '.join(front.budgets) or 'none')}.</p>{_plot(front)}"
        f"<table><thead><tr>{titles}</tr></thead><tbody>{cells}</tbody></table></html>\n"
    )


def _plot(front: Front) -> str:
    """Return the front as an interactive plot, or nothing where plotly is not installed."""
    try:
        import plotly.graph_objects as go
    except ModuleNotFoundError:
        return ""
    timed = [point for point in front.points if point.p50_ms is not None]
    sizes = [8 + 4 * ((point.size_bytes or 0) / 1e6) ** 0.5 for point in timed]
    trace = go.Scatter(
        x=[point.p50_ms for point in timed],
        y=[point.metric for point in timed],
        text=[point.name for point in timed],
        mode="markers+text",
        textposition="top center",
        marker={"size": sizes, "color": "#10b981"},
    )
    layout = {"xaxis_title": "p50 (ms)", "yaxis_title": front.metric, "height": 420, "template": "simple_white"}
    plot: str = go.Figure(trace, layout).to_html(full_html=False, include_plotlyjs="inline")
    return plot


def _megabytes(size_bytes: float | None) -> str:
    return _number(None if size_bytes is None else size_bytes / 1e6)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
