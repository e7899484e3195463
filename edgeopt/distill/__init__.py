"""Distillation: train a small student on the outputs of a large teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeopt._lazy import offer

if TYPE_CHECKING:
    from edgeopt.distill.config import DistillOptions
    from edgeopt.distill.result import DistillResult
    from edgeopt.distill.stage import distill

__all__ = ["DistillOptions", "DistillResult", "distill"]

if not TYPE_CHECKING:
    __getattr__ = offer(__name__, {"DistillOptions": "config", "DistillResult": "result", "distill": "stage"})
