"""Verdicts as GitHub annotations."""

from __future__ import annotations

from collections.abc import Sequence

from edgeopt.escaping import annotation, annotation_property
from edgeopt.report.checks import Check

_LEVELS = {"fail": "error", "undecided": "warning"}


def github_annotations(checks: Sequence[Check]) -> list[str]:
    """Return one workflow command per line: an error for a failed check, a warning for an undecided one."""
    return [
        f"::{_LEVELS[check.verdict]} title={annotation_property(f'{check.suite}: {check.name}')}::{annotation(check.message)}"
        for check in checks
        if check.verdict in _LEVELS
    ]
