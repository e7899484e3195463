"""Folders of images: resized, reordered and normalised as the preprocessing says."""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from edgeopt.batches import Array
from edgeopt.data.preprocessing import ImageInput
from edgeopt.data.samples import Samples
from edgeopt.device_code import inference
from edgeopt.documents import read_bytes
from edgeopt.errors import DataError

_MODES = {"RGB": "RGB", "BGR": "RGB", "GREY": "L"}
_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
UNREADABLE = (  # what Pillow's readers raise, one or the other, on damaged files
    UnidentifiedImageError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)
_FORMATS: tuple[str, ...] = inference("images").FORMATS
_MOST_PIXELS = 2**28  # of a resized image
_ORIENTATION, _ON_THE_SIDE = 0x0112, {5, 6, 7, 8}  # EXIF
_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


def read_images(folder: Path, name: str, preprocessing: ImageInput) -> Samples:
    """Return the images in `folder`, sorted by name, as float32 arrays [C, H, W] (or [H, W, C]) for the input `name`.

    If only subfolders contain images, each subfolder is a class, numbered in the order of their names.

    Raises:
        DataError: the folder holds no images, or one cannot be read.
    """
    files, labels = image_files(folder), None
    if not files:
        classes = [image_files(inner) for inner in class_folders(folder)]
        labels = np.repeat(np.arange(len(classes)), [len(inner) for inner in classes]).astype(np.int64)
        files = [file for inner in classes for file in inner]
    if not files:
        raise DataError(f"{folder}: no images here (looked for {', '.join(sorted(_SUFFIXES))})")
    return read_image_files(files, name, preprocessing, labels)


def read_image_files(
    files: list[Path], name: str, preprocessing: ImageInput, labels: NDArray[np.int64] | None = None
) -> Samples:
    """Return these images as samples for the input `name`; they are opened when they are asked for.

    Raises:
        DataError: one cannot be read.
    """
    digest = hashlib.sha256(preprocessing.model_dump_json().encode())
    for file in files:
        digest.update(read_bytes(file, error=DataError, what="an image"))
    digest.update(b"" if labels is None else labels.tobytes())
    return Samples(len(files), lambda index: {name: read_image(files[index], preprocessing)}, labels, digest.hexdigest())


def image_size(file: Path) -> tuple[int, int]:
    """Return width and height of an image in a file, from its head, turned as its EXIF orientation says.

    Raises:
        DataError: the file is not an image that can be read.
    """
    try:
        with open_image(file) as opened:
            if opened.format == "TIFF":
                opened.load()  # (Pillow turns it then, some versions its size before)
            turned = opened.getexif().get(_ORIENTATION, 1) in _ON_THE_SIDE
            return (opened.height, opened.width) if turned else opened.size
    except UNREADABLE as error:
        raise unreadable(str(file), error) from error


def open_image(source: Path | BinaryIO) -> Image.Image:
    """Return the image in a file, opened; its content says its format, which must be one of those that Pillow reads itself."""
    return Image.open(source, formats=_FORMATS)


def upright(image: Image.Image) -> Image.Image:
    """Return an image turned as its EXIF orientation says, as the apps of a bundle read it."""
    return ImageOps.exif_transpose(image)


def class_folders(folder: Path) -> list[Path]:
    """Return the folders of images in `folder`, or that are empty, by name: its classes; none where it holds images itself."""
    if image_files(folder):
        return []
    folders = sorted(inner for inner in folder.iterdir() if inner.is_dir() and not inner.name.startswith((".", "__")))
    return [inner for inner in folders if image_files(inner) or not any(inner.iterdir())]


def image_files(folder: Path) -> list[Path]:
    """Return the files in `folder` with suffixes of images, sorted."""
    return sorted(file for file in folder.glob("*") if file.suffix.lower() in _SUFFIXES)


def read_image(file: Path, preprocessing: ImageInput) -> Array:
    """Return one image as a float32 array in the requested layout.

    Raises:
        DataError: the file is not an image that can be read.
    """
    try:
        with open_image(file) as opened:
            return prepared(upright(opened), preprocessing)
    except UNREADABLE as error:
        raise unreadable(str(file), error) from error


def unreadable(where: str, error: BaseException) -> DataError:
    """Return what to raise for one of the errors `UNREADABLE` of the image `where`."""
    return DataError(f"{where}: not an image that can be read: {' '.join(str(error).split())[:200]}")


def prepared(image: Image.Image, preprocessing: ImageInput) -> Array:
    """Return an opened image as a float32 array in the requested layout.

    Raises:
        ValueError: it is so narrow that it would take more than 2²⁸ pixels.
    """
    pixels = np.asarray(_fitted(image.convert(_MODES[preprocessing.colour]), preprocessing), dtype=np.float32)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if preprocessing.colour == "BGR":
        pixels = pixels[..., ::-1]
    mean, scale = (np.asarray(values, dtype=np.float32) for values in (preprocessing.mean, preprocessing.scale))
    normalised = (pixels - mean) / scale
    return np.ascontiguousarray(normalised.transpose(2, 0, 1) if preprocessing.layout == "NCHW" else normalised)


def _fitted(image: Image.Image, preprocessing: ImageInput) -> Image.Image:
    """Resize straight to the model's size, letterbox, or resize the shorter edge and crop the centre."""
    size, chosen = (preprocessing.width, preprocessing.height), _FILTERS[preprocessing.resample]
    if preprocessing.letterbox:
        return _letterboxed(image, preprocessing)
    if preprocessing.shorter_edge is None:
        return image.resize(size, chosen)
    edge, shorter = preprocessing.shorter_edge, min(image.size)  # (whole numbers, as transformers' processors round)
    resized = (edge * image.width // shorter, edge * image.height // shorter)
    if resized[0] * resized[1] > _MOST_PIXELS:
        raise ValueError(f"{image.width}×{image.height} pixels would become {resized[0]}×{resized[1]}")
    image = image.resize(resized, chosen)
    left, top = (image.width - size[0]) // 2, (image.height - size[1]) // 2
    return image.crop((left, top, left + size[0], top + size[1]))


def _letterboxed(image: Image.Image, preprocessing: ImageInput) -> Image.Image:
    """Resize to fit, keeping the aspect ratio, and pad in the centre or at the right and the bottom."""
    width, height = preprocessing.width, preprocessing.height
    ratio = min(width / image.width, height / image.height)
    inner = max(1, min(width, int(image.width * ratio))), max(1, min(height, int(image.height * ratio)))
    fill = tuple(round(value) for value in preprocessing.pad) * (1 if len(preprocessing.pad) > 1 else len(image.getbands()))
    fill = fill[::-1] if preprocessing.colour == "BGR" else fill
    whole = Image.new(image.mode, (width, height), fill if len(fill) > 1 else fill[0])
    centred = preprocessing.pad_position == "centre"
    place = ((width - inner[0]) // 2, (height - inner[1]) // 2) if centred else (0, 0)
    whole.paste(image.resize(inner, _FILTERS[preprocessing.resample]), place)
    return whole
