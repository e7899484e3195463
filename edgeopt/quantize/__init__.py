"""Quantize: calibrate an ONNX model on data and turn it into integers, planned for a target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeopt._lazy import offer
from edgeopt.quantize.config import QuantizeConfig

if TYPE_CHECKING:
    from edgeopt.quantize.plan.plan import Plan
    from edgeopt.quantize.result import QuantizeFacts, QuantizeResult
    from edgeopt.quantize.stage import draft, quantize

__all__ = ["Plan", "QuantizeConfig", "QuantizeFacts", "QuantizeResult", "draft", "quantize"]

if not TYPE_CHECKING:
    __getattr__ = offer(
        __name__,
        {"Plan": "plan.plan", "QuantizeFacts": "result", "QuantizeResult": "result", "draft": "stage", "quantize": "stage"},
    )
