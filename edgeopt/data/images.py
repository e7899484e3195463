"""Folders of pictures: resized, ordered and normalised as the manifest says."""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from edgeopt.batches import Array
from edgeopt.data.preprocessing import ImageInput
from edgeopt.data.samples import Samples
from edgeopt.documents import read_bytes
from edgeopt.errors import DataError

_MODES = {"RGB": "RGB", "BGR": "RGB", "GREY": "L"}
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "nearest": Image.Resampling.NEAREST}
_UNREADABLE = (  # what Pillow's readers raise, one or the other, on damaged files
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
_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


def read_pictures(folder: Path, name: str, preprocessing: ImageInput) -> Samples:
    """Return the pictures in `folder`, sorted by name, as float32 arrays [C, H, W] (or [H, W, C]) for the input `name`.

    Where there are none in the folder itself but in folders below it, each of those is a class, numbered by the order of names.

    Raises:
        DataError: the folder holds no picture, or one cannot be read.
    """
    files, labels = picture_files(folder), None
    if not files:
        classes = [picture_files(inner) for inner in class_folders(folder)]
        labels = np.repeat(np.arange(len(classes)), [len(inner) for inner in classes]).astype(np.int64)
        files = [file for inner in classes for file in inner]
    if not files:
        raise DataError(f"{folder}: no pictures here (looked for {', '.join(sorted(_SUFFIXES))})")
    digest = hashlib.sha256(preprocessing.model_dump_json().encode())
    for file in files:
        digest.update(read_bytes(file, error=DataError, what="an image"))
    digest.update(b"" if labels is None else labels.tobytes())
    return Samples(len(files), lambda index: {name: read_picture(files[index], preprocessing)}, labels, digest.hexdigest())


def class_folders(folder: Path) -> list[Path]:
    """Return the folders that are the classes of the images in `folder`, by number; none where it holds images itself."""
    return [] if picture_files(folder) else sorted(inner for inner in folder.iterdir() if inner.is_dir())


def picture_files(folder: Path) -> list[Path]:
    """Return the files in `folder` whose names end as pictures' do, sorted."""
    return sorted(file for file in folder.glob("*") if file.suffix.lower() in _SUFFIXES)


def read_picture(file: Path, preprocessing: ImageInput) -> Array:
    """Return one picture as a float32 array in the asked layout.

    Raises:
        DataError: the file is not a picture that can be read.
    """
    try:
        with Image.open(file) as opened:
            picture = opened.convert(_MODES[preprocessing.colour])
    except _UNREADABLE as error:
        raise DataError(f"{file}: not a picture that can be read: {' '.join(str(error).split())[:200]}") from error
    return prepared(picture, preprocessing)


def prepared(picture: Image.Image, preprocessing: ImageInput) -> Array:
    """Return an opened picture as a float32 array in the asked layout."""
    pixels = np.asarray(_fitted(picture.convert(_MODES[preprocessing.colour]), preprocessing), dtype=np.float32)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if preprocessing.colour == "BGR":
        pixels = pixels[..., ::-1]
    mean, scale = (np.asarray(values, dtype=np.float32) for values in (preprocessing.mean, preprocessing.scale))
    normalised = (pixels - mean) / scale
    return np.ascontiguousarray(normalised.transpose(2, 0, 1) if preprocessing.layout == "NCHW" else normalised)


def _fitted(picture: Image.Image, preprocessing: ImageInput) -> Image.Image:
    """Resize straight to the model's size, or the shorter edge first and then crop the centre."""
    size, chosen = (preprocessing.width, preprocessing.height), _FILTERS[preprocessing.resample]
    if preprocessing.shorter_edge is None:
        return picture.resize(size, chosen)
    factor = preprocessing.shorter_edge / min(picture.size)
    picture = picture.resize((round(picture.width * factor), round(picture.height * factor)), chosen)
    left, top = (picture.width - size[0]) // 2, (picture.height - size[1]) // 2
    return picture.crop((left, top, left + size[0], top + size[1]))
