"""onnxruntime's quantizers write to the root logger and to stdout; what matters of that is in the result's facts."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO


@contextmanager
def quiet() -> Iterator[None]:
    """Keep notes off the root logger and stdout for a while, and handlers that are added to the logger meanwhile."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # it is only read
            yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers
