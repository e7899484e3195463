"""Preprocessing as data: bundle.json carries it and any language can implement it.

``deploy/templates/python/example.py`` is the reference reader, in plain numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from edgeopt.config import Options
from edgeopt.errors import RecipeError, nearest


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
