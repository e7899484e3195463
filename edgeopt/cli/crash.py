"""Internal errors: one line on the terminal, the traceback in a file."""

from __future__ import annotations

import tempfile
import traceback
from pathlib import Path


def report_crash(error: BaseException) -> str:
    """Write the traceback of `error` to a temporary file and return the line that says so."""
    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile("w", prefix="edgeopt-", suffix=".log", delete=False, encoding="utf-8") as file:
            file.write(text)
        place = str(Path(file.name))
    except OSError:
        return f"{text}\nedgeopt: internal error: {type(error).__name__}: {error}\n"
    return f"edgeopt: internal error: {type(error).__name__}: {error}; please report it with {place}\n"
