"""The errors edgeopt raises, branched by who must act.

    EdgeoptError
    ├── UserError            exit 2: the input must change
    │   ├── RecipeError      the recipe, an option or a budget expression
    │   ├── ModelError       the model file or the model's source
    │   └── DataError        the data set, the calibration data or its manifest
    ├── MachineError         exit 2: the machine lacks something (permission, memory, provider, target)
    │   └── DiskFullError    the disk is full
    ├── IntegrityError       exit 1: a file does not have its recorded hash
    └── InternalError        exit 3: a bug in edgeopt; please report it

A message is one line: what is wrong, where, what was found, what is allowed, what to do next. Third-party exceptions are
chained with ``raise … from error``. A missed budget is never an exception but a verdict.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class EdgeoptError(Exception):
    """Base of every error that edgeopt raises; `exit_code` is the exit code of the command line."""

    exit_code: ClassVar[int] = 3


class UserError(EdgeoptError):
    """The input must change."""

    exit_code = 2


class RecipeError(UserError):
    """The recipe, a command-line option or a budget expression must change."""


class ModelError(UserError):
    """The model file, or the source the model is built from, must change."""


class DataError(UserError):
    """The data set, the calibration samples or their manifest must change."""


class MachineError(EdgeoptError):
    """The machine lacks something: disk space, permission, a provider, a target."""

    exit_code = 2


class DiskFullError(MachineError):
    """The disk is full."""


class IntegrityError(EdgeoptError):
    """A stored file does not have its recorded hash."""

    exit_code = 1


class InternalError(EdgeoptError):
    """A bug in edgeopt."""

    exit_code = 3


class DeprecatedKey(FutureWarning):
    """A key of an earlier version that no longer has an effect; the message says what to use."""


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the allowed name closest to `name`, or "" if none is close."""
    matches = get_close_matches(name, list(allowed), n=1)
    return f" (did you mean '{matches[0]}'?)" if matches else ""
