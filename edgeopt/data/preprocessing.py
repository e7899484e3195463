"""Preprocessing as data: bundle.json carries it and any language can implement it.

``deploy/runner/inference`` is the reference reader, in plain numpy. Options are read from a .toml or .json file, or from
transformers' preprocessor_config.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from edgeopt.config import Options
from edgeopt.documents import read_json, read_toml
from edgeopt.errors import DataError, RecipeError, nearest

_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # numbers of PIL.Image.Resampling
_LONGEST_EDGE = 16_384
"""Pixels along an edge of an image, beyond which a file is damaged."""


class ArrayInput(Options):
    """No preprocessing: the caller has arrays of the recorded names, dtypes and shapes."""

    kind: Literal["array"] = "array"
    """Kind of preprocessing."""


class ImageInput(Options):
    """An image with 8 bits per channel becomes one model input: resize, crop, then ``(pixel − mean) / scale`` per channel."""

    model_config = ConfigDict(allow_inf_nan=False)
    kind: Literal["image"] = "image"
    """Kind of preprocessing."""
    input: str | None = None
    """Model input that the image feeds; none: the first."""
    width: int = Field(ge=1, le=_LONGEST_EDGE)
    """Width of the model input in pixels."""
    height: int = Field(ge=1, le=_LONGEST_EDGE)
    """Height of the model input in pixels."""
    shorter_edge: int | None = Field(default=None, ge=1, le=_LONGEST_EDGE)
    """Resize the shorter edge to this and crop the centre; none: resize straight to width × height."""
    letterbox: bool = False
    """Keep the aspect ratio: resize to fit into width × height and pad the rest."""
    pad: list[float] = Field(default_factory=lambda: [114.0])
    """Pixel value of a letterbox's padding; one value, or one per channel, in the order of `colour`."""
    pad_position: Literal["centre", "corner"] = "centre"
    """Where a letterbox puts the image: in the centre, or in the upper left corner."""
    resample: Literal["bilinear", "nearest", "bicubic", "lanczos"] = "bilinear"
    """Filter, as wide as the reduction, as in Pillow (antialiased); nearest: none."""
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
        for name, values in (("mean", self.mean), ("scale", self.scale), ("pad", self.pad)):
            if len(values) not in {1, channels}:
                raise ValueError(f"{name} has {len(values)} values; 1 or {channels} are allowed for {self.colour}")
        if 0 in self.scale:
            raise ValueError("scale contains 0, the divisor")
        if self.shorter_edge and self.letterbox:
            raise ValueError("letterbox and shorter_edge exclude each other")
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
    pair: bool = False
    """A sample is two texts, such as a question and its context; where they are too long, the longer one is cut first."""


class Spectrogram(Options):
    """The spectrogram of a recording, with mel bands and a logarithm if asked for."""

    model_config = ConfigDict(allow_inf_nan=False)
    frame: int = Field(default=400, ge=1)
    """Samples of a frame under the window."""
    hop: int = Field(default=160, ge=1)
    """Samples from frame to frame."""
    fft: int = Field(default=512, ge=2)
    """Samples of the Fourier transform; a shorter frame lies in its middle."""
    window: Literal["hann", "hamming", "none"] = "hann"
    """Window (periodic)."""
    centre: bool = True
    """Frames are centred on their time: half a transform of reflected samples comes before and behind."""
    power: Literal[1, 2] = 2
    """Exponent of the magnitude."""
    mels: int = Field(default=80, ge=0)
    """Number of mel bands; 0: the bins of the transform."""
    low: float = Field(default=0.0, ge=0)
    """Lowest frequency of the bands in Hz."""
    high: float | None = Field(default=None, gt=0)
    """Highest frequency of the bands in Hz; none: half the rate."""
    scale: Literal["htk", "slaney"] = "htk"
    """Mel scale."""
    area: bool = False
    """Bands of equal area (Slaney's) instead of equal height."""
    log: Literal["ln", "ln+", "log10", "db", "whisper", "none"] = "ln"
    """Logarithm; ln+: of the value plus `floor`; db: ten times log10; whisper: log10 clamped to 8 decades, (x + 4) / 4."""
    floor: float = Field(default=1e-10, ge=0)
    """Smallest value before the logarithm."""
    normalise: bool = False
    """To mean 0 and variance 1 over the recording."""
    mean: float = 0.0
    """Subtracted from the values."""
    std: float = 1.0
    """Divisor of the difference."""
    frames: int | None = Field(default=None, ge=1)
    """Number of frames to cut or pad to; none: unchanged."""
    pad: float = 0.0
    """Value of padding frames."""
    layout: Literal["bands-time", "time-bands"] = "bands-time"
    """Order of the axes."""

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.frame > self.fft:
            raise ValueError(f"frame {self.frame} is longer than fft {self.fft}")
        if self.std == 0:
            raise ValueError("std is 0, the divisor")
        if self.log != "none" and self.floor == 0:
            raise ValueError("floor 0 has no logarithm")
        return self


class AudioInput(Options):
    """A recording becomes one model input: mixed to mono, resampled, cut or padded, as samples or as a spectrogram."""

    kind: Literal["audio"] = "audio"
    """Kind of preprocessing."""
    input: str | None = None
    """Model input that the recording feeds; none: the first."""
    rate: int = Field(default=16_000, ge=1)
    """Sampling rate in Hz; recordings of another are resampled."""
    length: int | None = Field(default=None, ge=1)
    """Number of samples to cut to at the end, or to pad with silence; none: unchanged."""
    normalise: bool = False
    """Normalise the samples to mean 0 and variance 1."""
    features: Spectrogram | None = None
    """Spectrogram; none: the samples themselves."""
    channel_axes: int = Field(default=0, ge=0, le=2)
    """Axes of size 1 between the batch and the values, such as the channel of a convolution."""
    chunk: int | None = Field(default=None, ge=1)
    """Streaming: samples of each run of the model; none: one run takes the whole recording."""
    context: int = Field(default=0, ge=0)
    """Streaming: samples of the chunk before that precede each chunk."""
    states: dict[str, str] = Field(default_factory=dict)
    """Streaming: state input → the output that is its next value; states begin as zeros."""
    constants: dict[str, int] = Field(default_factory=dict)
    """Inputs that always have one value, such as the sampling rate."""


Preprocessing = ArrayInput | ImageInput | TokenizerInput | AudioInput
_KINDS: dict[str, type[ArrayInput] | type[ImageInput] | type[TokenizerInput] | type[AudioInput]] = {
    "array": ArrayInput,
    "audio": AudioInput,
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
        case AudioInput(input=name, states=states, constants=constants):
            return [*([name] if name else []), *states, *constants]
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
            "colour": "BGR" if values.get("do_flip_channel_order") else "RGB",
            "mean": [round(value / rescale, 9) for value in mean],
            "scale": [round(value / rescale, 9) for value in std],
        },
        where=str(path),
    )
