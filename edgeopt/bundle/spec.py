"""Content of a bundle, and the result of writing one."""

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
    recipe_toml: str | None = None
    """The resolved recipe, as TOML."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Further files (a tokenizer, a licence): path in the bundle → source."""
    tolerances: Mapping[str, Tolerance] = field(default_factory=dict)
    """Tolerances by output name, instead of the measured ones."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions to record in addition to those of edgeopt, numpy, onnx and onnxruntime."""
