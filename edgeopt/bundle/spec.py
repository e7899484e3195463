"""What goes into a bundle and what comes out of writing one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeopt.batches import Batches
from edgeopt.data.preprocessing import ArrayInput, Preprocessing

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Tolerance:
    """A golden output may be off by ``absolute + relative · |recorded value|``."""

    absolute: float
    relative: float = 0.0


@dataclass(frozen=True)
class BundleSpec:
    """Everything that a bundle is made of."""

    model: Path
    """The ONNX file; its external data is found beside it."""
    name: str
    """What the bundle is called in its README and in reports."""
    task: str
    """Such as ``image-classification``."""
    target: str
    """Name of the target it was made for."""
    golden: Batches
    """Model inputs that are recorded with the outputs they give here; each batch is one sample, shapes may differ (≥ 1)."""
    preprocessing: Preprocessing = field(default_factory=ArrayInput)
    """How raw data becomes model inputs."""
    labels: tuple[str, ...] = ()
    """Names of the classes; with them, the best class of each golden output must come out the same."""
    recipe_toml: str | None = None
    """The resolved recipe, as TOML."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Further files: path in the bundle → where it is now (a tokenizer, a licence)."""
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)
    """By output name, instead of the measured ones."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions worth recording beside those of edgeopt, numpy, onnx and onnxruntime."""
