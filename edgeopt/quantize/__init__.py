"""Quantize: calibrate an ONNX model on data and turn it into integers, planned for a target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeopt.quantize.config import QuantizeConfig

if TYPE_CHECKING:
    from edgeopt.quantize.plan.plan import Plan
    from edgeopt.quantize.result import QuantizeFacts, QuantizeResult
    from edgeopt.quantize.stage import quantize

__all__ = ["Plan", "QuantizeConfig", "QuantizeFacts", "QuantizeResult", "quantize"]

_HOMES = {"Plan": "plan.plan", "QuantizeFacts": "result", "QuantizeResult": "result", "quantize": "stage"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
