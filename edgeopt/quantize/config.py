"""The options of the stage `quantize`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from edgeopt.config import Options, ThreadCount
from edgeopt.units import read_seconds

Ranges = Literal["auto", "min-max", "moving-average", "percentile", "mse", "entropy"]
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def share(value: object) -> object:
    """Read "0.5%" as 0.005."""
    if not isinstance(value, str):
        return value
    number = value.strip().removesuffix("%")
    try:
        return float(number) / (100 if value.strip().endswith("%") else 1)
    except ValueError as error:
        raise ValueError("write a share such as 0.005, or a percentage such as 0.5%") from error


def seconds(value: object) -> object:
    """Read "5m" as 300."""
    return read_seconds(value) if isinstance(value, str) else value


def for_time(value: object) -> object:
    """Read "5m" as options that say how long alone."""
    return {"time": value} if isinstance(value, str) else value


def _bytes(value: object) -> object:
    """Read "500MB" as 500,000,000."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    unit = next((unit for unit in sorted(_UNITS, key=len, reverse=True) if text.endswith(unit)), "")
    try:
        return int(float(text.removesuffix(unit)) * _UNITS.get(unit, 1))
    except (ValueError, OverflowError) as error:  # (the latter: of infinity)
        raise ValueError(f"write a number of bytes, or one with a unit of {', '.join(_UNITS)}") from error


class HalfOptions(Options):
    """How `scheme = "float16"` converts."""

    block_ops: list[str] = Field(default_factory=list)
    """Operators that stay in float32, such as "Softmax"."""
    keep_io: bool = True
    """Keep the types of the model's inputs and outputs; false: they become float16."""


class WeightOptions(Options):
    """How `scheme = "weights-int8"` and "weights-int4" quantize."""

    method: Literal["rtn", "hqq", "gptq"] = "rtn"
    """rtn: round to nearest; hqq: half-quadratic zero points (4 bits only); gptq: error feedback from calibration data."""
    block_size: Literal[16, 32, 64, 128, 256] = 32
    """Number of weights along the input axis that share a scale."""
    symmetric: bool = False
    """Use no zero points: slightly smaller, slightly less accurate."""
    accuracy_level: Literal[0, 1, 4] = 4
    """Accuracy level of onnxruntime's kernel: 4 quantizes activations to int8 block by block, which is the fast kernel on CPUs;
    0 and 1 compute in float32."""
    embedding_bits: Literal[4, 8] = 8
    """Bits of embedding tables, if `embeddings` is set: 8 with one scale per row, 4 with one per block."""


class TrainingOptions(Options):
    """How the quantized graph is trained: towards the outputs of the floating-point model, without labels."""

    time: Annotated[float, BeforeValidator(seconds)] = Field(default=300.0, gt=0)
    """How long, such as "90s", "5m" or "1h"; a number counts seconds."""
    steps: int | None = Field(default=None, ge=1)
    """Stop after this many steps, if the time is not over before; none: the time decides."""
    batch_size: int = Field(default=16, ge=1)
    """Samples per step."""
    rounding: Literal["adaptive", "nearest"] = "adaptive"
    """adaptive: before training, each weight goes up or down as its layer's output needs it; nearest: to the nearest."""
    block_learning_rate: float = Field(default=0.01, ge=0)
    """Highest learning rate of weights while blocks are trained one by one, in steps of each weight's own grid; 0: they are
    not."""
    block_steps: int | None = Field(default=None, ge=1)
    """Steps of each block; none: the time decides."""
    learning_rate: float = Field(default=0.005, gt=0)
    """Highest learning rate of weights while the whole network is trained, in steps of each weight's own grid."""
    scale_learning_rate: float = Field(default=1e-3, gt=0)
    """Highest learning rate of activations' scales, as a share of each scale."""
    weight_scale_learning_rate: float = Field(default=0.0, ge=0)
    """The same for weights' scales; 0: they stay, since the least change of one rounds large weights to other integers."""
    inner_weight: float = Field(default=0.0, ge=0)
    """Weight of the error of the residual stream beside that of the outputs."""
    max_gradient_norm: float = Field(default=10.0, gt=0)
    """Gradients are clipped to this norm."""
    checkpoint: Path | None = Field(default=None, strict=False)
    """File that keeps the state, so that a run that was killed resumes; none: beside the output until that is written (in a
    recipe: in the run's folder)."""


class QuantizeConfig(Options):
    """How a model is calibrated and quantized; the integer types come from the target."""

    deprecated_keys: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("float_stem", "float_sums"), 'float_layers = "auto" or "none"'
    )

    scheme: Literal["static", "dynamic", "float16", "bfloat16", "weights-int8", "weights-int4"] = "static"
    """static: int8 with ranges from calibration; dynamic: int8 with ranges computed at run time; float16 and bfloat16: 16-bit
    floating point; weights-int8 and weights-int4: weights only."""
    half: HalfOptions = HalfOptions()
    """Options of `scheme = "float16"`."""
    weights: WeightOptions = WeightOptions()
    """Options of `scheme = "weights-int8"` and "weights-int4"."""
    ranges: Ranges = "auto"
    """How an activation's range is computed; auto: least error of the product it enters, elsewhere mse or min-max, and for all
    tensors min-max, percentile or mse where that gives better outputs on samples held aside."""
    smooth: bool = True
    """Move part of the differences between an activation's channels into the weights (SmoothQuant), with `ranges = "auto"`."""
    percentile: float = Field(default=99.99, gt=50, le=100)
    """Percentage of an activation's values inside its range, with `ranges = "percentile"`."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of `ranges = "moving-average"`, over batches."""
    equalize: bool = True
    """Scale channels around depthwise convolutions so that per-tensor weight scales suffice, on targets without per-channel."""
    correct_bias: bool = True
    """Subtract from each layer's bias the mean error that rounding its weights causes in its output."""
    wide_db: float | None = Field(default=25.0, gt=0, le=100)
    """On targets with 16-bit activations: use them for as few tensors as keep the outputs' SQNR at this value; none: for no
    tensor."""
    float_layers: Literal["auto", "none"] = "auto"
    """auto: keep layers in floating point whose integer form costs more accuracy than its time is worth, on targets with known
    kernel costs."""
    share_ranges: bool = True
    """Use one range for the inputs and outputs of an operator, where the target's rules ask for it."""
    weight_ranges: Literal["min-max", "mse"] = "min-max"
    """min-max: a weight scale covers the largest value; mse: it has the least squared error."""
    rounding: Literal["nearest", "adaptive"] = "nearest"
    """nearest: each weight to its nearest integer; adaptive: up or down as its layer's output needs it (AdaRound's problem;
    takes about a minute), unless the model's outputs on batches held aside are worse by it."""
    rounding_samples: int = Field(default=64, ge=1)
    """Batches used by `rounding = "adaptive"`, those held aside (a quarter, eight at most) among them."""
    train: Annotated[TrainingOptions | None, BeforeValidator(for_time)] = None
    """Train weights, biases and scales through the quantizer, such as `train = { time = "5m" }`; none: they stay as
    calibrated."""
    embeddings: bool = True
    """Store embedding tables as int8, with one scale per row."""
    exclude: list[str] = Field(default_factory=list)
    """Names of nodes that stay in floating point."""
    plan: Path | None = Field(default=None, strict=False)
    """A saved (and perhaps edited) plan to apply instead of making one."""
    max_drop: Annotated[float | None, BeforeValidator(share)] = Field(default=None, ge=0, le=1)
    """Largest loss of the metric given as `evaluate`, such as 0.005 or "0.5%"; as few layers as possible stay in floating
    point to keep it."""
    collapse_db: float | None = Field(default=12.0, ge=0, le=60)
    """Outputs below this SQNR in dB count as a collapse: the fewest of the worst layers then stay in floating point that bring
    the outputs above it. Needs no labels. None: accept any SQNR."""
    prefer_faster: bool = False
    """Time every layer on the target, and keep those in floating point whose integer form makes the model slower."""
    sensitivity: bool = False
    """Measure the effect of each layer alone on the outputs, even where `max_drop` does not need it."""
    threads: ThreadCount = 1
    """Threads for calibration."""
    memory_limit_bytes: Annotated[int | None, BeforeValidator(_bytes)] = Field(default=None, ge=1_000_000)
    """Collect the statistics of a few tensors at a time, so that one batch's stay below this, such as "500MB"; none: all at
    once."""
    cache: Path | None = Field(default=None, strict=False)
    """File of calibration statistics: read if made from the same model, data and options, else refused; written if absent."""
    jobs: int = Field(default=1, ge=1)
    """Processes among which calibration divides the samples."""
    noise_samples: int = Field(default=8, ge=1)
    """Batches on which the per-layer quantization error is measured."""
