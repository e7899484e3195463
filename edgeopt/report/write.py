"""Write a report's files, each atomically."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgeopt import progress
from edgeopt.errors import MachineError
from edgeopt.extras import need
from edgeopt.files import write_aside
from edgeopt.report.json import to_json
from edgeopt.report.markdown import to_markdown
from edgeopt.report.model import Report


def write_report(report: Report, folder: Path) -> tuple[Path, ...]:
    """Write report.html, report.json and report.md into `folder` and return their paths.

    Without the extra ``report`` there is no page, and a note says so.

    Raises:
        MachineError: the disk is full or `folder` cannot be written.
    """
    formats: dict[str, Callable[[Report], str]] = {"report.json": to_json, "report.md": to_markdown}
    try:
        need("jinja2", purpose="report.html")
        need("plotly", purpose="report.html")
    except MachineError as error:
        progress.note(f"left out: {error}")
    else:
        from edgeopt.report.html import to_html

        formats = {"report.html": to_html, **formats}
    paths = []
    for name, render in formats.items():
        path = Path(folder) / name
        with write_aside(path) as aside:
            aside.write_text(render(report), encoding="utf-8")
        paths.append(path)
    return tuple(paths)
