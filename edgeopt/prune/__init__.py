"""Structured pruning: remove the least important channels, so that layers really become smaller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeopt._lazy import offer

if TYPE_CHECKING:
    from edgeopt.prune.config import PruneOptions
    from edgeopt.prune.result import PruneResult
    from edgeopt.prune.stage import prune

__all__ = ["PruneOptions", "PruneResult", "prune"]

if not TYPE_CHECKING:
    __getattr__ = offer(__name__, {"PruneOptions": "config", "PruneResult": "result", "prune": "stage"})
