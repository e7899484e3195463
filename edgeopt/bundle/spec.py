"""Content of a bundle, and the result of writing one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgeopt.batches import Batches
from edgeopt.bundle.raw_golden import RawSample
from edgeopt.data.preprocessing import ArrayInput, Preprocessing
from edgeopt.targets.target import Target
from edgeopt.tasks.decoding import Decoding

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Tolerance:
    """A golden output may be off by ``absolute + relative · |recorded value|``."""

    absolute: float
    relative: float = 0.0


@dataclass(frozen=True)
class Origin:
    """One link of the chain from the teacher and the data to the file."""

    role: str
    """What it is: teacher, data, export, quantize, …"""
    name: str
    sha256: str


@dataclass(frozen=True)
class BundleSpec:
    """Content of a bundle."""

    model: Path
    """The ONNX file, with its external data in the same folder."""
    name: str
    """Name of the bundle in its README and in reports."""
    task: str
    """Task, such as ``image-classification``."""
    target: str
    """Name of the target it was made for."""
    golden: Batches
    """Model inputs that are recorded with their outputs; each batch is one sample, shapes may differ (at least one)."""
    preprocessing: Preprocessing = field(default_factory=ArrayInput)
    """How raw data become model inputs."""
    labels: tuple[str, ...] = ()
    """Names of the classes; with them, the best class of each golden output must be the same."""
    decoding: Decoding | None = None
    """How outputs become answers; None: guessed from the task, the outputs and the labels."""
    raw: tuple[RawSample, ...] | None = None
    """Raw inputs that are recorded with their answers; None: the golden inputs, where their preprocessing can be undone."""
    origins: tuple[Origin, ...] = ()
    """What the model was made from, the earliest first; the model's file is added as the last link of the chain."""
    format: Literal["onnx", "ort"] = "onnx"
    """Form of the model's file: ONNX, or onnxruntime's own, with the operators that a reduced build must have."""
    in_graph: bool = False
    """Add a second file whose input is an image file: the preprocessing is in its graph (needs onnxruntime-extensions)."""
    context: Target | None = None
    """Add a second file: the model compiled for this target's provider, in the target's own environment."""
    latency: bool = False
    """Measure the latency here and record it with this device; the bundle's bytes then differ from one writing to the next."""
    licences: Mapping[str, str] = field(default_factory=dict)
    """Licences by what they are of, such as model and data; SPDX identifiers where there are some."""
    recipe_toml: str | None = None
    """The resolved recipe, as TOML."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Further files (a tokenizer, a licence): path in the bundle → source."""
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)
    """Tolerances by output name, instead of the measured ones."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions to record in addition to those of edgeopt, numpy, onnx and onnxruntime."""
