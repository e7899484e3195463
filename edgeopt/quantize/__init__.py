"""Quantize: calibrate an ONNX model on data and turn it into integers, planned for a target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeopt._lazy import offer
from edgeopt.quantize.config import QuantizeConfig

if TYPE_CHECKING:
    from edgeopt.quantize.language.config import LanguageOptions
    from edgeopt.quantize.language.stage import LanguageFacts, LanguageResult, quantize_language_model
    from edgeopt.quantize.plan.plan import Plan
    from edgeopt.quantize.result import QuantizeFacts, QuantizeResult
    from edgeopt.quantize.stage import draft, quantize

__all__ = [
    "LanguageFacts",
    "LanguageOptions",
    "LanguageResult",
    "Plan",
    "QuantizeConfig",
    "QuantizeFacts",
    "QuantizeResult",
    "draft",
    "quantize",
    "quantize_language_model",
]

if not TYPE_CHECKING:
    __getattr__ = offer(
        __name__,
        {
            "LanguageFacts": "language.stage",
            "LanguageOptions": "language.config",
            "LanguageResult": "language.stage",
            "Plan": "plan.plan",
            "QuantizeFacts": "result",
            "QuantizeResult": "result",
            "draft": "stage",
            "quantize": "stage",
            "quantize_language_model": "language.stage",
        },
    )
