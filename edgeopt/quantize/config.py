"""The options of the stage `quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from edgeopt.config import Options


class QuantizeConfig(Options):
    """How a model is calibrated and quantized; the target supplies the integer types."""

    ranges: Literal["auto", "min-max", "moving-average", "percentile", "mse", "entropy"] = "auto"
    """How the range of an activation follows from its values; auto: least error of the product it enters, else min-max."""
    smooth: bool = True
    """Let weights take over part of the differences between an activation's channels (SmoothQuant), with `ranges = "auto"`."""
    percentile: float = Field(default=99.99, gt=50, le=100)
    """Percent of an activation's values that lie inside its range, for `ranges = "percentile"`."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of `ranges = "moving-average"`, over batches."""
    correct_bias: bool = True
    """Take what rounding the weights does to a layer's mean output off its bias."""
    embeddings: bool = True
    """Store embedding tables as int8, with a scale for each row."""
    exclude: list[str] = Field(default_factory=list)
    """Nodes that stay in floating point, by name."""
    plan: Path | None = Field(default=None, strict=False)
    """A saved (and perhaps edited) plan to carry out instead of making one."""
    max_drop: float | None = Field(default=None, ge=0, le=1)
    """Largest loss of the metric given as `evaluate`; as many of the most sensitive layers stay floating as that takes."""
    threads: int = Field(default=1, ge=1)
    """Threads for calibration."""
    memory_limit_bytes: int | None = Field(default=None, ge=1_000_000)
    """Take activations in turns so that those of one batch stay below this; None: all at once."""
    noise_samples: int = Field(default=8, ge=1)
    """Batches on which the per-layer quantization error is measured."""
