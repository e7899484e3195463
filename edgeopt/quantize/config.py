"""The options of the stage `quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from edgeopt.config import Options

_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def _share(value: object) -> object:
    """Read "0.5%" as 0.005."""
    if not isinstance(value, str):
        return value
    number = value.strip().removesuffix("%")
    try:
        return float(number) / (100 if value.strip().endswith("%") else 1)
    except ValueError as error:
        raise ValueError("write a share such as 0.005, or a percentage such as 0.5%") from error


def _bytes(value: object) -> object:
    """Read "500MB" as 500,000,000."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    unit = next((unit for unit in sorted(_UNITS, key=len, reverse=True) if text.endswith(unit)), "")
    try:
        return int(float(text.removesuffix(unit)) * _UNITS.get(unit, 1))
    except ValueError as error:
        raise ValueError(f"write a number of bytes, or one with a unit of {', '.join(_UNITS)}") from error


class HalfOptions(Options):
    """How `scheme = "float16"` converts."""

    block_ops: list[str] = Field(default_factory=list)
    """Operators that stay in float32, such as "Softmax"."""
    keep_io: bool = True
    """Leave the types of the model's inputs and outputs as they are; false: callers pass and get float16."""


class WeightOptions(Options):
    """How `scheme = "weights-int8"` and "weights-int4" quantize."""

    method: Literal["rtn", "hqq", "gptq"] = "rtn"
    """Round to nearest, half-quadratic zero points (4 bits only), or error feedback from calibration data."""
    block_size: Literal[16, 32, 64, 128, 256] = 32
    """Weights along the input axis that share a scale."""
    symmetric: bool = False
    """No zero points: a little smaller, a little less exact."""
    accuracy_level: Literal[0, 1, 4] = 0
    """Of onnxruntime's kernel: 0 or 1 computes in float32; 4 rounds activations to int8 as well, which is faster."""
    embedding_bits: Literal[4, 8] = 8
    """Of embedding tables, if `embeddings` is set: 8 with a scale for each row, 4 in blocks."""


class QuantizeConfig(Options):
    """How a model is calibrated and quantized; the target supplies the integer types."""

    scheme: Literal["static", "dynamic", "float16", "bfloat16", "weights-int8", "weights-int4"] = "static"
    """static: int8 with ranges from calibration; dynamic: int8, ranges at run time; 16-bit floats; or the weights alone."""
    half: HalfOptions = HalfOptions()
    """For `scheme = "float16"`."""
    weights: WeightOptions = WeightOptions()
    """For `scheme = "weights-int8"` and "weights-int4"."""
    ranges: Literal["auto", "min-max", "moving-average", "percentile", "mse", "entropy"] = "auto"
    """How an activation's range follows from its values; auto: least error of the product it enters, else mse or min-max."""
    smooth: bool = True
    """Let weights take over part of the differences between an activation's channels (SmoothQuant), with `ranges = "auto"`."""
    percentile: float = Field(default=99.99, gt=50, le=100)
    """Percent of an activation's values that lie inside its range, for `ranges = "percentile"`."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of `ranges = "moving-average"`, over batches."""
    equalize: bool = True
    """Scale channels around depthwise convolutions so that one weight scale a tensor suffices, where the target has no more."""
    correct_bias: bool = True
    """Take what rounding the weights does to a layer's mean output off its bias."""
    wide_db: float | None = Field(default=25.0, gt=0, le=100)
    """On targets that take 16-bit activations: give them to the fewest that bring the noise of the others below this SQNR of
    the outputs; None: to none."""
    float_stem: bool = True
    """Leave the first layers of a network on pictures in floating point, where the target's rules want that."""
    float_sums: bool = True
    """Add up what linear bottlenecks give in floating point, where the target's rules want that."""
    share_ranges: bool = True
    """One range for the inputs and outputs of the operators for which the target's rules want that."""
    weight_ranges: Literal["min-max", "mse"] = "min-max"
    """Whether a weight's scale holds its largest value, or has the least squared error (for each scale it has)."""
    rounding: Literal["nearest", "adaptive"] = "nearest"
    """Each weight to its nearest integer, or up or down as its layer's output needs it (AdaRound's problem; takes a minute)."""
    rounding_samples: int = Field(default=64, ge=1)
    """Batches that `rounding = "adaptive"` looks at."""
    embeddings: bool = True
    """Store embedding tables as int8, with a scale for each row."""
    exclude: list[str] = Field(default_factory=list)
    """Nodes that stay in floating point, by name."""
    plan: Path | None = Field(default=None, strict=False)
    """A saved (and perhaps edited) plan to carry out instead of making one."""
    max_drop: Annotated[float | None, BeforeValidator(_share)] = Field(default=None, ge=0, le=1)
    """Largest loss of the metric given as `evaluate`, such as 0.005 or "0.5%"; as few exceptions are made as that takes."""
    collapse_db: float | None = Field(default=6.0, ge=0, le=60)
    """Outputs below this SQNR are a collapse: then the fewest of the worst layers stay floating that bring them above it; no
    labels are needed for that. None: whatever comes is taken."""
    prefer_faster: bool = False
    """Time every layer on the target, and leave those in floating point whose integer form makes the model slower."""
    sensitivity: bool = False
    """Measure what each layer alone does to the model's outputs, also where `max_drop` does not need it."""
    threads: int = Field(default=1, ge=1)
    """Threads for calibration."""
    memory_limit_bytes: Annotated[int | None, BeforeValidator(_bytes)] = Field(default=None, ge=1_000_000)
    """Take activations in turns so that those of one batch stay below this, such as "500MB"; None: all at once."""
    cache: Path | None = Field(default=None, strict=False)
    """Statistics of an earlier calibration: taken if of this very model, data and options, else refused; written if absent."""
    jobs: int = Field(default=1, ge=1)
    """Processes for calibration, which share the samples."""
    noise_samples: int = Field(default=8, ge=1)
    """Batches on which the per-layer quantization error is measured."""
