"""A calibration set's manifest: origin, inputs, preprocessing and splits.

``calibration_data/<set>/manifest.toml``. A set whose files are not shipped names the environment variable that holds their
folder (`root_variable`); every file is checked against its recorded hash before it is used.
"""

from __future__ import annotations

import os
from math import inf
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from edgeopt._folders import shipped
from edgeopt.config import Options
from edgeopt.data.preprocessing import ArrayInput, ImageInput, Preprocessing
from edgeopt.documents import read_toml
from edgeopt.errors import DataError, RecipeError, nearest


class InputManifest(Options):
    """One model input of a sample (without the batch axis)."""

    name: str
    """Name of the input in the model."""
    dtype: str
    """Element type, with numpy's name."""
    shape: list[int | str]
    """Sizes without the batch axis; a named axis is ragged."""
    low: float | None = None
    """Smallest possible value; none: unknown, or given by an image's preprocessing."""
    high: float | None = None
    """Largest possible value; none: unknown, or given by an image's preprocessing."""
    axes: list[str] = Field(default_factory=list)
    """Meaning of the axes, such as channel, height, width; empty: not stated."""


class SplitManifest(Options):
    """One split: its file or folder, its size and its hash."""

    path: str = ""
    """File or folder, relative to the set's root; empty where the reader needs none."""
    count: int = Field(ge=1)
    """Number of samples."""
    sha256: str = ""
    """Hash of the file (for a folder: of all files, sorted by name); empty: not checked, with a warning."""


class PickedSample(Options):
    """One sample of a set that `calibrate-data` made."""

    file: str
    """File, relative to the set's folder."""
    index: int = Field(ge=0)
    """Index in the source data."""
    sha256: str
    """Hash of names, types, shapes and values (`edgeopt.data.samples.sample_digest`)."""
    label: int | None = None
    """Class, if the sample has one."""


class Manifest(Options):
    """A calibration set, as its ``manifest.toml`` describes it."""

    name: str
    """Name of the set; default: the folder's name."""
    description: str
    """One line."""
    origin: str
    """Where the data comes from."""
    licence: str
    """Licence of the data."""
    reader: Literal["digits", "text", "images", "arrays"]
    """Reader of `edgeopt.data` that makes the samples."""
    root_variable: str = ""
    """Environment variable that holds the root folder; empty: the manifest's own folder."""
    inputs: list[InputManifest]
    """The model's inputs."""
    splits: dict[Literal["train", "calibration", "evaluation"], SplitManifest]
    """The splits; `calibration` is required."""
    labels: list[str] = Field(default_factory=list)
    """Class names, in the order of their numbers."""
    task: str = "generic"
    """Task, with the hub's name, such as image-classification."""
    preprocessing: Preprocessing = Field(default=ArrayInput(), discriminator="kind")
    """How raw data become model inputs; bundles carry it to the device."""
    made: dict[str, str | int] = Field(default_factory=dict)
    """How `calibrate-data` made the set: source, choice, model."""
    picked: list[PickedSample] = Field(default_factory=list)
    """The samples, in the order they were picked."""

    def value_ranges(self) -> dict[str, tuple[float, float]]:
        """Return the interval [low, high] of an input's values, by input, where it is known."""
        known = image_range(self.preprocessing, [item.name for item in self.inputs])
        for item in self.inputs:
            if item.low is not None or item.high is not None:
                low, high = known.get(item.name, (-inf, inf))
                known[item.name] = low if item.low is None else item.low, high if item.high is None else item.high
        return known


def image_range(preprocessing: Preprocessing, inputs: list[str]) -> dict[str, tuple[float, float]]:
    """Return the interval that an image's pixels 0…255 become, by input name; empty for other preprocessing."""
    if not isinstance(preprocessing, ImageInput) or not inputs:
        return {}
    mean, scale = (np.asarray(values, dtype=np.float64) for values in (preprocessing.mean, preprocessing.scale))
    ends = np.stack([(end - mean) / scale for end in (0.0, 255.0)])
    return {preprocessing.input or inputs[0]: (float(ends.min()), float(ends.max()))}


def set_names() -> list[str]:
    """Return the names of the shipped calibration sets, sorted."""
    return sorted(path.parent.name for path in shipped("calibration_data").glob("*/manifest.toml"))


def load_manifest(name: str) -> Manifest:
    """Return the manifest of the set called `name`, or of the folder at the path `name`.

    Raises:
        RecipeError: there is no such set, or its manifest has a wrong key.
    """
    path = manifest_path(name)
    if not path.is_file():
        names = set_names()
        raise RecipeError(f"calibration set '{name}' does not exist{nearest(name, names)}; known: {', '.join(names)}")
    values = read_toml(path, error=RecipeError, what="a manifest")
    return Manifest.read({"name": path.parent.name, **values}, where=str(path))


def manifest_path(name: str) -> Path:
    """Return the path of the manifest of the set `name` (a name or a folder), whether or not it exists."""
    folder = Path(name) if "/" in name else shipped("calibration_data") / name
    return folder / "manifest.toml"


def root_folder(manifest: Manifest, manifest_file: Path) -> Path:
    """Return the folder that the manifest's paths are relative to.

    Raises:
        DataError: the environment variable that holds it is unset and the default does not exist.
    """
    if not manifest.root_variable:
        return manifest_file.parent
    if manifest.root_variable == "EDGEOPT_DATA":
        return data_root()
    value = os.environ.get(manifest.root_variable)
    if not value:
        raise DataError(
            f"calibration set '{manifest.name}' needs its folder: set the environment variable {manifest.root_variable}"
        )
    return Path(value)


def data_root() -> Path:
    """Return the folder of real data: the environment variable ``EDGEOPT_DATA``, or ../shared/data next to the checkout."""
    folder = Path(os.environ.get("EDGEOPT_DATA") or shipped("calibration_data").parent.parent / "shared" / "data")
    if not folder.is_dir():
        raise DataError(f"the folder of real data {folder} does not exist; set the environment variable EDGEOPT_DATA to it")
    return folder
