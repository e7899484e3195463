"""Images become model inputs: read, resize as Pillow does it, letterbox or crop, reorder, normalise.

x_input = (pixel − mean) / scale        per channel, pixels of 0…255
"""

from __future__ import annotations

import io
from typing import Any, Dict, Mapping, Tuple, Union

import numpy as np

from . import MissingPackageError
from .decoding import Placement

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
"""Formats that are read, whatever a file is called: others (EPS, for one) have Pillow start programs."""
_SUPPORT = {"bilinear": 1.0, "bicubic": 2.0, "lanczos": 3.0}


def read_pixels(source: Union[str, bytes]) -> Any:
    """Return an image, a file or its bytes, as uint8 [height, width, 3] in RGB, turned as its EXIF orientation says.

    Raises:
        ValueError: it cannot be read.
        MissingPackageError: Pillow is not installed.
    """
    path = source if isinstance(source, str) else "the image"
    if path.endswith(".npy"):
        pixels = read_array(path)
        if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (1,), (3,)) or not pixels.size:
            raise ValueError(f"{path}: {pixels.dtype}{list(pixels.shape)}; an image is uint8 [height, width, 3]")
        return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise MissingPackageError(f"{path}: to read it, install Pillow, or give the pixels as .npy") from error
    try:
        with Image.open(source if isinstance(source, str) else io.BytesIO(source), formats=FORMATS) as opened:
            return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    except UnidentifiedImageError as error:  # (its text names an object in memory)
        raise ValueError(f"{path}: not an image that can be read") from error
    except Exception as error:  # (what Pillow's readers raise has no common base)
        raise ValueError(f"{path}: not an image that can be read: {' '.join(str(error).split())[:200]}") from error


def read_array(path: str) -> Any:
    """Return the array in an .npy file.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        return np.load(path, allow_pickle=False)
    except Exception as error:  # (what numpy raises has no common base)
        raise ValueError(f"{path}: not an array that can be read: {' '.join(str(error).split())[:200]}") from error


def image_input(pixels: Any, steps: Mapping[str, Any]) -> Tuple[Any, Placement]:
    """Return the image [height, width, 3] as the model's input, float32 with a batch axis of 1, and where it lies in there."""
    values = np.asarray(pixels, np.float32)
    if steps["colour"] == "GREY" and values.shape[2] == 3:
        values = grey(values)
    elif steps["colour"] == "BGR":
        values = values[..., ::-1]
    values, placement = fitted(values, steps)
    normalised = (values - np.array(steps["mean"], np.float32)) / np.array(steps["scale"], np.float32)
    ordered = normalised.transpose(2, 0, 1) if steps["layout"] == "NCHW" else normalised
    return np.ascontiguousarray(ordered, np.float32)[None], placement


def grey(values: Any) -> Any:
    """Return the luma of RGB pixels in whole numbers, ITU-R 601 in 16-bit arithmetic as Pillow's "L"."""
    red, green, blue = (values[..., k].astype(np.int64) for k in range(3))
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.float32)[..., None]


def fitted(values: Any, steps: Mapping[str, Any]) -> Tuple[Any, Placement]:
    """Return pixels of the input's height and width, and the placement of the image in them."""
    height, width = steps["height"], steps["width"]
    rows, columns = values.shape[:2]
    size, input_size = (columns, rows), (width, height)
    if steps.get("letterbox"):
        ratio = min(width / columns, height / rows)
        inner = max(1, min(width, int(columns * ratio))), max(1, min(height, int(rows * ratio)))
        left, top = ((width - inner[0]) // 2, (height - inner[1]) // 2) if steps["pad_position"] == "centre" else (0, 0)
        whole = np.empty((height, width, values.shape[2]), np.float32)
        whole[:] = np.array(steps["pad"], np.float32)
        whole[top : top + inner[1], left : left + inner[0]] = resize(values, inner[1], inner[0], steps["resample"])
        return whole, Placement(size, input_size, (inner[0] / columns, inner[1] / rows), (float(left), float(top)))
    if steps["shorter_edge"]:
        edge, shorter = steps["shorter_edge"], min(rows, columns)
        tall, wide = (edge * rows // shorter, edge * columns // shorter)
        values = resize(values, tall, wide, steps["resample"])
        top, left = (tall - height) // 2, (wide - width) // 2
        scale, offset = (wide / columns, tall / rows), (-float(left), -float(top))
        return values[top : top + height, left : left + width], Placement(size, input_size, scale, offset)
    values = resize(values, height, width, steps["resample"])
    return values, Placement(size, input_size, (width / columns, height / rows))


def resize(values: Any, height: int, width: int, resample: str) -> Any:
    """Return float pixels [h, w, c] as [height, width, c] in whole steps of 0…255, axis after axis as Pillow does it."""
    if values.shape[:2] == (height, width):
        return values
    if resample == "nearest":
        rows = ((np.arange(height) + 0.5) * values.shape[0] / height).astype(int)
        columns = ((np.arange(width) + 0.5) * values.shape[1] / width).astype(int)
        return values[rows][:, columns]
    across = _along(values.transpose(1, 0, 2), width, resample).transpose(1, 0, 2)
    return _along(across, height, resample)


def _along(values: Any, size: int, resample: str) -> Any:
    """Return `values` resized along their first axis, rounded to 0…255."""
    if values.shape[0] == size:
        return values
    weights = filter_weights(values.shape[0], size, resample)
    flat = values.reshape(values.shape[0], -1).astype(np.float64)  # (so that every platform rounds the same way)
    return np.clip(np.floor(weights @ flat + 0.5), 0, 255).astype(np.float32).reshape(size, *values.shape[1:])


def filter_weights(size: int, new_size: int, resample: str) -> Any:
    """Return the weights [new_size, size] of a resize whose filter is as wide as the reduction (antialiased), as in Pillow."""
    ratio = size / new_size
    reach = max(ratio, 1.0)
    support = _SUPPORT[resample] * reach
    centres = (np.arange(new_size) + 0.5) * ratio
    places = np.arange(size)[None, :]
    low = np.floor(np.maximum(centres - support + 0.5, 0))[:, None]
    high = np.floor(np.minimum(centres + support + 0.5, size))[:, None]
    weights = _FILTERS[resample](np.abs(places + 0.5 - centres[:, None]) / reach)
    weights = np.where((places >= low) & (places < high), weights, 0.0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32).astype(np.float64)


def _triangle(x: Any) -> Any:
    return np.maximum(0.0, 1.0 - x)


def _cubic(x: Any) -> Any:
    near, far = (1.5 * x - 2.5) * x * x + 1.0, ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _lanczos(x: Any) -> Any:
    return np.where(x < 3.0, np.sinc(x) * np.sinc(x / 3.0), 0.0)


_FILTERS: Dict[str, Any] = {"bilinear": _triangle, "bicubic": _cubic, "lanczos": _lanczos}
