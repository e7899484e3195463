"""onnxruntime's quantizers write to the root logger and to stdout; what matters of that is in the result's facts."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the root logger and stdout silent while the block runs, and remove handlers that it adds."""
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
