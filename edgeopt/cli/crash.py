"""Internal errors: one line on the terminal, the traceback in a file."""

from __future__ import annotations

import tempfile
import traceback
from pathlib import Path

from edgeopt.escaping import one_line


def report_crash(error: BaseException) -> str:
    """Write the traceback of `error` to a temporary file and return the line that says so."""
    text, what = "".join(traceback.format_exception(error)), one_line(f"{type(error).__name__}: {error}")
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="edgeopt-", suffix=".log", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(text)
        place = str(Path(file.name))
    except OSError:
        return f"{text}\nedgeopt: internal error: {what}\n"
    return f"edgeopt: internal error: {what}; please report it with {place}\n"
