"""Profiling: latency that can be trusted, memory, where the time goes, and verdicts against budgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeopt.profile.budget import Budget
    from edgeopt.profile.config import ProfileConfig
    from edgeopt.profile.result import ProfileResult
    from edgeopt.profile.stage import profile
    from edgeopt.profile.sweep import SweepConfig, SweepResult, sweep

__all__ = ["Budget", "ProfileConfig", "ProfileResult", "SweepConfig", "SweepResult", "profile", "sweep"]

_HOME = {
    "Budget": "edgeopt.profile.budget",
    "ProfileConfig": "edgeopt.profile.config",
    "ProfileResult": "edgeopt.profile.result",
    "profile": "edgeopt.profile.stage",
    "SweepConfig": "edgeopt.profile.sweep",
    "SweepResult": "edgeopt.profile.sweep",
    "sweep": "edgeopt.profile.sweep",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for."""
    from importlib import import_module

    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)
