"""`--quiet` holds for the libraries, too: no warnings of numpy or torch, no log lines of onnxruntime."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import typer

_FATAL = 4


def silence(context: typer.Context, value: bool) -> bool:
    """Keep libraries from writing to stderr until the command ends; what matters of it is raised, or in the result."""
    if value and not context.resilient_parsing:
        context.with_resource(_silent())
    return value


@contextmanager
def _silent() -> Iterator[None]:
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:  # python -W asks for them
                warnings.simplefilter("ignore")
            _silence_onnxruntime()
            yield
    finally:
        logging.disable(disabled)


def _silence_onnxruntime() -> None:
    """Import onnxruntime without what it writes meanwhile (it looks for devices), and let it log fatal errors only."""
    with _no_stderr():
        import onnxruntime

    onnxruntime.set_default_logger_severity(_FATAL)


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Send what is written to file descriptor 2 nowhere, as libraries in C do past `sys.stderr`."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
