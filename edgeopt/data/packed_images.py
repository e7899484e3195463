"""Many encoded images in one .npz: ``jpeg`` (all files end to end), ``offset`` (where each starts), ``label``, ``split``.

A data set of 50,000 small files is slow to copy and to open; packed like this it is one file, and the images stay as they were.
`classes` holds their names, `split` 0 for training and 1 for evaluation.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.batches import Array
from edgeopt.data.npz import StoredArray, open_npz
from edgeopt.data.preprocessing import ImageInput
from edgeopt.data.samples import Sample, Samples
from edgeopt.errors import DataError
from edgeopt.extras import need
from edgeopt.files import sha256

_NEEDED = {"jpeg", "offset"}
_SPLITS = {"train": 0, "test": 1, "evaluation": 1, "calibration": 0}


def is_packed(path: Path) -> bool:
    """Return whether an .npz file holds packed images."""
    if path.suffix.lower() != ".npz" or not path.is_file():
        return False
    try:
        return set(open_npz(path)) >= _NEEDED
    except DataError:
        return False


def read_packed(path: Path, name: str, preprocessing: ImageInput, split: str | None) -> Samples:
    """Return the packed images of a split (None: all) as samples for the input `name`.

    Raises:
        DataError: the arrays do not fit each other, or there is no such split.
    """
    need("PIL", purpose="reading images")
    from edgeopt.data.images import UNREADABLE, open_image, prepared, upright

    arrays = _unpacked(path)
    data, offset = arrays["jpeg"], arrays["offset"]
    if not _cuts(offset, data):
        raise DataError(f"{path}: 'offset' does not cut 'jpeg' ({data.size:,} bytes) into images; pack it again")
    for key in ("label", "split"):
        found = arrays.get(key)
        if found is not None and (found.shape != (len(offset) - 1,) or found.dtype.kind not in "iu"):
            raise DataError(
                f"{path}: '{key}' is {found.dtype}{list(found.shape)}, not one number for each image; pack it again"
            )
    rows = _rows(arrays, split, path, len(offset) - 1)
    labels = arrays["label"].astype(np.int64)[rows] if "label" in arrays else None
    names = _names(arrays["classes"], path) if "classes" in arrays else ()

    def read(index: int) -> Sample:
        row = rows[index]
        content = data[int(offset[row]) : int(offset[row + 1])].tobytes()
        try:
            return {name: prepared(upright(open_image(io.BytesIO(content))), preprocessing)}
        except UNREADABLE as error:
            raise DataError(f"{path}: image {row} cannot be read: {' '.join(str(error).split())[:200]}") from error

    digest = f"{sha256(path)} {split} {preprocessing.model_dump_json()}"
    return Samples(len(rows), read, labels, digest, names=names)


def _cuts(offset: Array, data: Array) -> bool:
    """Return whether the offsets are where images begin, and then where the bytes end."""
    if data.ndim != 1 or data.dtype != np.uint8 or offset.ndim != 1 or len(offset) < 2 or offset.dtype.kind not in "iu":
        return False
    places = offset.astype(np.int64)
    return bool(places[0] == 0 and places[-1] == len(data) and (np.diff(places) > 0).all())


def _names(classes: Array, path: Path) -> tuple[str, ...]:
    if classes.ndim != 1 or classes.dtype.kind not in "SU":
        raise DataError(f"{path}: 'classes' is {classes.dtype}{list(classes.shape)}, not a list of names; pack it again")
    return tuple(item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in classes)


def _unpacked(path: Path) -> dict[str, Array]:
    """Return the arrays, each unpacked once, compared with its checksum and kept in memory."""
    stored = open_npz(path)
    names = set(stored) & {*_NEEDED, "label", "split", "classes"}
    return {name: _whole(stored[name]) for name in sorted(names)}


def _whole(array: StoredArray) -> Array:
    content = bytearray().join(array.chunks())
    return np.frombuffer(content, array.dtype).reshape(array.shape)


def _rows(arrays: dict[str, Array], split: str | None, path: Path, count: int) -> np.ndarray[Any, Any]:
    if split is None or "split" not in arrays:
        return np.arange(count)
    if split not in _SPLITS:
        raise DataError(f"{path}: no split '{split}'; it has: {', '.join(_SPLITS)}")
    return np.flatnonzero(arrays["split"] == _SPLITS[split])
