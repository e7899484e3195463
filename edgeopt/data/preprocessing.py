"""Preprocessing as data: bundle.json carries it and any language can implement it.

``deploy/templates/python/example.py`` is the reference reader, in plain numpy. Options are read from a .toml or .json file, or
from transformers' preprocessor_config.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from edgeopt.config import Options
from edgeopt.documents import read_json, read_toml
from edgeopt.errors import DataError, RecipeError, nearest

_RESAMPLE = {0: "nearest", 2: "bilinear"}  # numbers of PIL.Image.Resampling


class ArrayInput(Options):
    """No preprocessing: the caller has arrays of the recorded names, dtypes and shapes."""

    kind: Literal["array"] = "array"
    """Kind of preprocessing."""


class ImageInput(Options):
    """An image with 8 bits per channel becomes one model input: resize, crop, then ``(pixel − mean) / scale`` per channel."""

    kind: Literal["image"] = "image"
    """Kind of preprocessing."""
    input: str | None = None
    """Model input that the image feeds; none: the first."""
    width: int = Field(ge=1)
    """Width of the model input in pixels."""
    height: int = Field(ge=1)
    """Height of the model input in pixels."""
    shorter_edge: int | None = Field(default=None, ge=1)
    """Resize the shorter edge to this and crop the centre; none: resize straight to width × height."""
    resample: Literal["bilinear", "nearest"] = "bilinear"
    """bilinear: a triangle filter as wide as the reduction, as in Pillow (antialiased)."""
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    """Order of the axes."""
    colour: Literal["RGB", "BGR", "GREY"] = "RGB"
    """Order of the channels; GREY has one."""
    mean: list[float] = Field(default_factory=lambda: [0.0])
    """Subtracted from pixels of 0…255; one value, or one per channel."""
    scale: list[float] = Field(default_factory=lambda: [255.0])
    """Divisor of the difference; one value, or one per channel."""

    @model_validator(mode="after")
    def _fit(self) -> Self:
        channels = 1 if self.colour == "GREY" else 3
        for name, values in (("mean", self.mean), ("scale", self.scale)):
            if len(values) not in {1, channels}:
                raise ValueError(f"{name} has {len(values)} values; 1 or {channels} are allowed for {self.colour}")
        if 0 in self.scale:
            raise ValueError("scale contains 0, the divisor")
        if self.shorter_edge and self.shorter_edge < max(self.width, self.height):
            raise ValueError(f"shorter_edge {self.shorter_edge} is smaller than the crop {self.width}×{self.height}")
        return self


class TokenizerInput(Options):
    """Text becomes token ids through a ``tokenizer.json`` in the bundle."""

    kind: Literal["tokenizer"] = "tokenizer"
    """Kind of preprocessing."""
    file: str = "tokenizer.json"
    """Tokenizer file in the bundle."""
    max_length: int = Field(ge=1)
    """Longer texts are cut to this many tokens, special tokens included."""
    padding: int = 0
    """Token id that pads the shorter texts of a batch."""
    input_ids: str = "input_ids"
    """Model input for the token ids."""
    attention_mask: str | None = "attention_mask"
    """Model input that is 1 for a token and 0 for padding; none: there is none."""
    token_type_ids: str | None = None
    """Model input for the segment (0 or 1) of each token; none: there is none."""


Preprocessing = ArrayInput | ImageInput | TokenizerInput
_KINDS: dict[str, type[ArrayInput] | type[ImageInput] | type[TokenizerInput]] = {
    "array": ArrayInput,
    "image": ImageInput,
    "tokenizer": TokenizerInput,
}


def read_preprocessing(values: Mapping[str, Any], *, where: str) -> Preprocessing:
    """Return the options of the kind that ``values["kind"]`` names.

    Raises:
        RecipeError: the kind, a key or a value is not allowed; the message says what is.
    """
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        hint = nearest(str(kind), _KINDS)
        raise RecipeError(f"{where}: preprocessing kind is {kind!r}{hint}; allowed: {', '.join(sorted(_KINDS))}")
    return _KINDS[kind].read(values, where=where)


def files_needed(preprocessing: Preprocessing) -> list[str]:
    """Return the files that a bundle with `preprocessing` must contain."""
    return [preprocessing.file] if isinstance(preprocessing, TokenizerInput) else []


def inputs_fed(preprocessing: Preprocessing) -> list[str]:
    """Return the model inputs that `preprocessing` names."""
    match preprocessing:
        case ImageInput(input=name):
            return [name] if name else []
        case TokenizerInput():
            names = [preprocessing.input_ids, preprocessing.attention_mask, preprocessing.token_type_ids]
            return [name for name in names if name]
        case ArrayInput():
            return []


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
