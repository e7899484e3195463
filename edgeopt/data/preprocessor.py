"""Image preprocessing read from a file: a .toml of preprocessing options, or transformers' preprocessor_config.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeopt.data.preprocessing import ImageInput, Preprocessing, read_preprocessing
from edgeopt.documents import read_json, read_toml
from edgeopt.errors import DataError

_RESAMPLE = {0: "nearest", 2: "bilinear"}  # numbers of PIL.Image.Resampling


def read_image_input(path: Path | None, source: str) -> ImageInput:
    """Return the preprocessing in the file at `path`; `source` names the images in error messages.

    Raises:
        DataError: there is no file, or it asks for something unsupported.
        RecipeError: a key or value is not allowed.
    """
    if path is None:
        raise DataError(
            f"{source}: images need a size and normalisation: write ?preprocessing=FILE, a .toml "
            "(width, height, mean, scale, …) or a transformers preprocessor_config.json"
        )
    values = _values(path)
    if path.suffix == ".json" and "image_processor_type" in values:
        try:
            return _of_transformers(values, path)
        except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise DataError(f"{path}: a value has the wrong type: {error}; write the preprocessing as .toml") from error
    return ImageInput.read({"kind": "image", **values}, where=str(path))


def read_preprocessing_file(path: Path) -> Preprocessing:
    """Return the preprocessing in the file at `path`, of any kind; one without a kind is an image's.

    Raises:
        DataError: it cannot be read, or asks for what is not done here.
        RecipeError: a key or value is not allowed.
    """
    values = _values(path)
    return read_preprocessing(values, where=str(path)) if "kind" in values else read_image_input(path, str(path))


def _values(path: Path) -> dict[str, Any]:
    read = read_json if path.suffix == ".json" else read_toml
    values: Any = read(path, error=DataError, what="the preprocessing")
    if isinstance(values, dict):
        values = values.get("preprocessing", values)
    if not isinstance(values, dict):
        raise DataError(
            f"{path}: not a table of preprocessing, but {type(values).__name__}; write width, height, mean, scale, …"
        )
    return values


def _of_transformers(values: dict[str, Any], path: Path) -> ImageInput:
    """Translate an image processor's options: (pixel · rescale − mean) / std = (pixel − mean/rescale) / (std/rescale)."""
    size, crop = values.get("size") or {}, values.get("crop_size") or {}
    crops = bool(values.get("do_center_crop")) and bool(crop)
    final = crop if crops else size
    if "height" not in final or "width" not in final:
        raise DataError(f"{path}: size {size} and crop {crop} do not fix width and height; write the preprocessing as .toml")
    resample = _RESAMPLE.get(values.get("resample", 2))
    if resample is None:
        raise DataError(f"{path}: resampling {values['resample']} is not supported; write the preprocessing as .toml")
    rescale = float(values.get("rescale_factor", 1 / 255)) if values.get("do_rescale", True) else 1.0
    normalises = values.get("do_normalize", True)
    mean, std = (values.get("image_mean") or [0.0], values.get("image_std") or [1.0]) if normalises else ([0.0], [1.0])
    return ImageInput.read(
        {
            "width": final["width"],
            "height": final["height"],
            "shorter_edge": size.get("shortest_edge") or (min(size.values()) if crops and size else None),
            "resample": resample,
            "mean": [round(value / rescale, 9) for value in mean],
            "scale": [round(value / rescale, 9) for value in std],
        },
        where=str(path),
    )
