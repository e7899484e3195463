"""How a model is exported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from edgeopt.config import Options


class ExportConfig(Options):
    """How a model is exported; options that are none follow the target."""

    opset: int | None = Field(default=None, ge=18, le=25)
    """Version of ONNX's default operator set; below 23 there is no `Attention` operator."""
    attention: Literal["fused", "decomposed"] | None = None
    """fused: one standard `Attention` node per layer; decomposed: MatMul, Softmax, MatMul."""
    projections: Literal["merged", "apart"] | None = None
    """merged: query, key and value as one product and a Split; apart: as three products."""
    decoder: Literal["portable", "decoder-cpu"] | None = None
    """Form of decoders. portable: standard operators, a cache that grows; decoder-cpu: onnxruntime's GroupQueryAttention over a
    cache of fixed length, logits where they are asked for."""
    context: int | None = Field(default=None, ge=8)
    """Most positions of a decoder, prompt and answer together; none: the model's, at most 32,768."""
    shapes: dict[str, list[Annotated[int, Field(ge=1)]]] = Field(default_factory=dict)
    """Fixed shapes by input name, such as `{"input_ids": [1, 128]}`; samples are padded with zeros or cut. Other inputs stay
    dynamic."""
    axes: dict[str, dict[Annotated[int, Field(ge=0, strict=False)], str]] = Field(default_factory=dict)
    """Names of dynamic axes, by input and axis, such as `{"image": {"0": "batch"}}`; equal axes share a name. Empty: taken from
    the family and the samples."""
    dynamic: list[str] = Field(default_factory=list)
    """Axes to make dynamic that are fixed by default: ``height`` and ``width`` of images."""
    outputs: list[str] = Field(default_factory=list)
    """Names of the outputs to keep; empty: those of the task, or all."""
    family: str | None = None
    """Name of the family in ``exporters/``; none: found by the model's type. ``generic``: no family, everything is taken from
    the samples."""
    task: str | None = None
    """What the model is for, such as ``text-classification``; none: taken from the model's class."""
    source: str | None = None
    """Origin of the model, recorded in the file."""
    source_folder: Path | None = None
    """Transformers folder of the model; its configuration, tokenizer and processor files are copied beside the ONNX file."""
    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    """Type of weights and of floating-point inputs, outputs and caches; none: that of the model's weights."""
    tolerance: float | None = Field(default=None, gt=0)
    """Largest error, as a share of the output's magnitude; none: 1e-4 (float16: 1e-2, bfloat16: 8e-2)."""
    parity_samples: int = Field(default=8, ge=1)
    """Number of samples compared with PyTorch."""
