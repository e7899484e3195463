"""Options of the bundle stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgeopt.config import Options


class BundleOptions(Options):
    """What goes into the bundle."""

    golden_samples: int = Field(default=8, ge=1)
    """Number of evaluation samples whose inputs and outputs are recorded, with which the bundle verifies itself."""
    format: Literal["onnx", "ort"] = "onnx"
    """Form of the model's file: ONNX, or onnxruntime's own (.ort) with the operators that a reduced build must have."""
    latency: bool = False
    """Measure p50 and p95 on this machine and record them with this device; the bundle's hash then differs between runs."""
