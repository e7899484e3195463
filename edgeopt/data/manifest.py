"""A calibration set's manifest: where its samples come from, what they look like, how they are made.

``calibration_data/<set>/manifest.toml``. A set whose files are not shipped names the environment variable that says where they
are (`root_variable`); every file is checked against its recorded hash before it is used.
"""

from __future__ import annotations

import os
import tomllib
from math import inf
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from edgeopt._folders import shipped
from edgeopt.config import Options
from edgeopt.data.preprocessing import ArrayInput, ImageInput, Preprocessing
from edgeopt.errors import DataError, RecipeError, nearest


class InputManifest(Options):
    """One model input, as a sample gives it (without the batch axis)."""

    name: str
    """The model's name of the input."""
    dtype: str
    """numpy's name of the element type."""
    shape: list[int | str]
    """Sizes without the batch axis; a named axis is ragged."""
    low: float | None = None
    """No value is smaller; none: not known, or known from the preprocessing of a picture."""
    high: float | None = None
    """No value is larger; none: as above."""
    axes: list[str] = Field(default_factory=list)
    """What the axes are, such as channel, height, width; empty: not said."""


class SplitManifest(Options):
    """One split: its file or folder, below the set's root, and what it must be."""

    path: str = ""
    """File or folder; empty where the reader needs none."""
    count: int = Field(ge=1)
    """How many samples there are."""
    sha256: str = ""
    """Hash of the file (of all files, sorted by name, for a folder); empty: not checked, and said so."""


class PickedSample(Options):
    """One sample of a set that `calibrate-data` made."""

    file: str
    """Where it is, below the set's folder."""
    index: int = Field(ge=0)
    """Its number in the data it was picked from."""
    sha256: str
    """Of its names, types, shapes and values (`edgeopt.data.samples.sample_digest`)."""
    label: int | None = None
    """Its class, if it has one."""


class Manifest(Options):
    """A calibration set, as its ``manifest.toml`` says."""

    name: str
    """The folder's name."""
    description: str
    """One line."""
    origin: str
    """Where the data comes from."""
    licence: str
    reader: Literal["digits", "text", "images", "arrays"]
    """Which reader of `edgeopt.data` makes the samples."""
    root_variable: str = ""
    """Environment variable that names the root folder; empty: the manifest's own folder."""
    inputs: list[InputManifest]
    splits: dict[Literal["train", "calibration", "evaluation"], SplitManifest]
    """At least `calibration`."""
    labels: list[str] = Field(default_factory=list)
    """Class names in the order of their numbers."""
    task: str = "generic"
    """The hub's name of what models do with it, such as image-classification."""
    preprocessing: Preprocessing = Field(default=ArrayInput(), discriminator="kind")
    """How raw data becomes model inputs; bundles carry it to the device."""
    made: dict[str, str | int] = Field(default_factory=dict)
    """How `calibrate-data` made it: from what, by which choice, for which model."""
    picked: list[PickedSample] = Field(default_factory=list)
    """Its samples, in the order they were picked."""

    def value_ranges(self) -> dict[str, tuple[float, float]]:
        """Return the [low, high] that an input's values must lie in, by input, as far as it is known."""
        known = picture_range(self.preprocessing, [item.name for item in self.inputs])
        for item in self.inputs:
            if item.low is not None or item.high is not None:
                low, high = known.get(item.name, (-inf, inf))
                known[item.name] = low if item.low is None else item.low, high if item.high is None else item.high
        return known


def picture_range(preprocessing: Preprocessing, inputs: list[str]) -> dict[str, tuple[float, float]]:
    """Return what a picture's 0…255 become, by the name of the input it feeds; nothing for other preprocessing."""
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
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from error
    return Manifest.read({"name": path.parent.name, **values}, where=str(path))


def manifest_path(name: str) -> Path:
    """Return where the manifest of the set `name` (a name or a folder) is, whether or not it exists."""
    folder = Path(name) if "/" in name else shipped("calibration_data") / name
    return folder / "manifest.toml"


def root_folder(manifest: Manifest, manifest_file: Path) -> Path:
    """Return the folder that the manifest's paths start from.

    Raises:
        DataError: the environment variable that names it is unset and the default is not there.
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
    """Return the folder of real data: the environment variable ``EDGEOPT_DATA``, or ../shared/data beside the checkout."""
    folder = Path(os.environ.get("EDGEOPT_DATA") or shipped("calibration_data").parent.parent / "shared" / "data")
    if not folder.is_dir():
        raise DataError(f"the folder of real data {folder} is not there; set the environment variable EDGEOPT_DATA to it")
    return folder
