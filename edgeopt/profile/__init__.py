"""Profiling: latency, memory, time per operator, and verdicts against budgets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeopt._lazy import offer

if TYPE_CHECKING:
    from edgeopt.profile.config import ProfileConfig
    from edgeopt.profile.result import ProfileResult
    from edgeopt.profile.scenarios import ScenarioConfig, ScenarioResult, measure_scenarios
    from edgeopt.profile.stage import profile
    from edgeopt.profile.sweeps import SweepConfig, SweepResult, sweep
    from edgeopt.verdict.accuracy_drop import AccuracyDrop
    from edgeopt.verdict.budget import Budget

__all__ = [
    "AccuracyDrop",
    "Budget",
    "ProfileConfig",
    "ProfileResult",
    "ScenarioConfig",
    "ScenarioResult",
    "SweepConfig",
    "SweepResult",
    "measure_scenarios",
    "profile",
    "sweep",
]

if not TYPE_CHECKING:
    __getattr__ = offer(
        __name__,
        {
            "AccuracyDrop": "edgeopt.verdict.accuracy_drop",
            "Budget": "edgeopt.verdict.budget",
            "ProfileConfig": "config",
            "ProfileResult": "result",
            "ScenarioConfig": "scenarios",
            "ScenarioResult": "scenarios",
            "measure_scenarios": "scenarios",
            "profile": "stage",
            "SweepConfig": "sweeps",
            "SweepResult": "sweeps",
            "sweep": "sweeps",
        },
    )
