"""Options of verification."""

from __future__ import annotations

from pydantic import Field

from edgeopt.config import Options


class VerifyOptions(Options):
    """What a quantized model may lose."""

    max_drop_points: float = Field(default=1.0, ge=0)
    """Accuracy that the quantized model may lose against the fp32 one, in percentage points; more is a failure."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Of the intervals around each accuracy."""
    max_output_error: float = Field(default=0.1, gt=0)
    """Without labels: the largest root-mean-square error of an output, as a share of the output's own."""
