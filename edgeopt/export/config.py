"""How a model is exported."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from edgeopt.config import Options


class ExportConfig(Options):
    """How a model is exported; what is None is the target's choice."""

    opset: int | None = Field(default=None, ge=18, le=25)
    """Version of ONNX's default operator set; below 23 there is no `Attention` operator."""
    attention: Literal["fused", "decomposed"] | None = None
    """One standard `Attention` node a layer, or its parts."""
    projections: Literal["merged", "apart"] | None = None
    """Query, key and value as one product and a Split, or as products of their own."""
    shapes: dict[str, list[int]] = Field(default_factory=dict)
    """Inputs whose shape is fixed, by name; samples are padded with zeros or cut to it. The others stay dynamic."""
    axes: dict[str, dict[int, str]] = Field(default_factory=dict)
    """Names of an input's dynamic axes, by input and axis; equal axes share a name. Empty: found from names and samples."""
    dynamic: list[str] = Field(default_factory=list)
    """Axes of the family's inputs that are fixed by default and shall be dynamic: ``height``, ``width`` of pictures."""
    outputs: list[str] = Field(default_factory=list)
    """The outputs to keep, by name; empty: those of the task, or all."""
    family: str | None = None
    """The family in ``exporters/``; None: by the model's type. ``generic`` uses none: the samples say what there is to know."""
    task: str | None = None
    """What the model is for, such as ``text-classification``; None: read off the model's class."""
    source: str | None = None
    """Where the model comes from; recorded in the file."""
    source_folder: Path | None = None
    """The transformers folder of the model; its config, tokenizer and processor files are copied beside the ONNX file."""
    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    """The type of weights, floating inputs and outputs, caches among them; None: that of the model's weights."""
    tolerance: float | None = Field(default=None, gt=0)
    """Largest error, as a share of the output's magnitude; None: 1e-4 (float16 weights: 1e-2, bfloat16: 8e-2)."""
    parity_samples: int = Field(default=8, ge=1)
    """How many of the samples the comparison with PyTorch uses."""
