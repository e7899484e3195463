"""Write a report's files, each atomically."""

from __future__ import annotations

from pathlib import Path

from edgeopt.files import write_aside
from edgeopt.report.html import to_html
from edgeopt.report.json import to_json
from edgeopt.report.markdown import to_markdown
from edgeopt.report.model import Report


def write_report(report: Report, folder: Path) -> tuple[Path, Path, Path]:
    """Write report.html, report.json and report.md into `folder` and return their paths.

    Raises:
        MachineError: the disk is full or `folder` cannot be written.
    """
    formats = {"report.html": to_html, "report.json": to_json, "report.md": to_markdown}
    paths = []
    for name, render in formats.items():
        path = Path(folder) / name
        with write_aside(path) as aside:
            aside.write_text(render(report), encoding="utf-8")
        paths.append(path)
    return paths[0], paths[1], paths[2]
