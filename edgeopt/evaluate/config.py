"""Options of verification."""

from __future__ import annotations

from pydantic import Field

from edgeopt.config import Options


class VerifyOptions(Options):
    """How much accuracy a quantized model may lose."""

    max_drop_points: float = Field(default=1.0, ge=0)
    """Percentage points of accuracy that the quantized model may lose compared with fp32; more is a failure."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Confidence of the interval around each accuracy."""
    max_output_error: float = Field(default=0.1, gt=0)
    """Without labels: largest root-mean-square error of an output, as a share of the output's root mean square."""
