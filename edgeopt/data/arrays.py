"""Arrays from files: an .npz of arrays by input name, a folder of .npy files, one per name, or one of .npz files of samples."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeopt import progress
from edgeopt.data.fit import shared_arrays
from edgeopt.data.npz import MAGIC, StoredArray, open_npy, open_npz
from edgeopt.data.samples import Sample, Samples, from_arrays
from edgeopt.errors import DataError
from edgeopt.files import sha256
from edgeopt.graph.signature import Signature


def read_arrays(path: Path, signature: Signature | None = None, *, inputs: Sequence[str] = ()) -> Samples:
    """Return the samples in the .npz file or the folder at `path`; an array's first axis counts samples.

    A folder holds .npy files (one per input), or .npz files that are read one after another and may differ in their other axes.
    A folder of .npy files none of which has the name of an input holds one sample per file, if the model has one input.
    Integers with one axis under the name ``labels`` are the samples' classes, not an input.

    Args:
        path: of the file or folder.
        signature: of the model; an array that has exactly an input's shape, such as a scalar, then belongs to all samples.
        inputs: the model's input names, if its signature is not known.

    Raises:
        DataError: the file is missing or empty, or an array needs pickle.
    """
    if path.is_dir() and not any(path.glob("*.npy")) and (files := sorted(path.glob("*.npz"))):
        return _joined(files, signature)
    names = [spec.name for spec in signature.inputs] if signature else list(inputs)
    if path.is_dir() and (numbered := _one_each(path, names)):
        return numbered
    arrays = _read_folder(path) if path.is_dir() else _read_npz(path)
    if not arrays:
        raise DataError(f"{path}: no arrays in it; store one array per model input, by the input's name")
    labels = _labels(arrays, names)
    try:
        samples = from_arrays(arrays, labels, shared=_shared(arrays, labels, signature))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    if not len(samples):
        raise DataError(f"{path}: the arrays hold no samples (first axis is 0); add calibration samples")
    return samples


def _one_each(folder: Path, names: Sequence[str]) -> Samples | None:
    """Return the samples of a folder whose .npy files are one sample each (000.npy, 001.npy, …), None if they are not.

    Raises:
        DataError: no file has the name of an input, and the model has several.
    """
    files = sorted(folder.glob("*.npy"))
    if not files or not names or any(file.stem in names for file in files):
        return None
    if len(names) != 1:
        raise DataError(
            f"{folder}: each .npy file is one input, named after it, and {files[0].name} is not an input of the model: "
            f"{', '.join(names)}; for one sample per file write .npz files, which hold all inputs"
        )
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {sha256(file)}\n".encode())
    return Samples(len(files), lambda index: {names[0]: open_npy(files[index]).whole()}, None, digest.hexdigest())


def _joined(files: list[Path], signature: Signature | None) -> Samples:
    """Return the samples of several .npz files, each read when one of its samples is needed."""
    places: list[tuple[Path, int]] = []
    labels: list[NDArray[np.int64]] = []
    digest = hashlib.sha256()
    names: set[str] = set()
    for file in files:
        part = read_arrays(file, signature)
        names = names or set(part[0])
        if set(part[0]) != names:
            found, wanted = (", ".join(sorted(inputs)) for inputs in (part[0], names))
            raise DataError(f"{file}: holds {found}, and {files[0].name} {wanted}; store the same inputs in all files")
        places += [(file, row) for row in range(len(part))]
        labels += [] if part.labels is None else [part.labels]
        digest.update(part.digest.encode())
    if labels and sum(map(len, labels)) != len(places):
        raise DataError(f"{files[0].parent}: some of the .npz files have labels and others have none; store them in all")
    opened = lru_cache(maxsize=1)(lambda file: _samples(file, signature))  # samples are mostly asked for in their order

    def read(index: int) -> Sample:
        file, row = places[index]
        return opened(file)[row]

    return Samples(len(places), read, np.concatenate(labels) if labels else None, digest.hexdigest())


def _samples(file: Path, signature: Signature | None) -> Samples:
    """Return the samples of one .npz file without the hash of its content, which was made once."""
    names = [spec.name for spec in signature.inputs] if signature else []
    arrays = _read_npz(file)
    labels = _labels(arrays, names)
    return from_arrays(arrays, labels, shared=_shared(arrays, labels, signature), digest="")


def _labels(arrays: dict[str, StoredArray], inputs: Sequence[str]) -> NDArray[np.int64] | None:
    """Take the labels out of the arrays, if there are some."""
    labels = arrays.get("labels")
    if labels is None or "labels" in inputs or len(arrays) == 1:
        return None
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        form = f"{labels.dtype} {list(labels.shape)}"
        progress.note(f"warning: the array 'labels' is no classes: it is {form}; classes are integers, one per sample")
        return None
    return arrays.pop("labels").whole().astype(np.int64)


def _shared(arrays: Mapping[str, StoredArray], labels: NDArray[np.int64] | None, signature: Signature | None) -> frozenset[str]:
    if signature is None:
        return frozenset()
    return shared_arrays(arrays, signature, labels=None if labels is None else len(labels))


def _read_npz(path: Path) -> dict[str, StoredArray]:
    if not path.is_file():
        raise DataError(
            f"{path}: no such calibration data; give an .npz file, a folder of .npy files or a calibration set's name"
        )
    with path.open("rb") as file:
        if file.read(len(MAGIC)) == MAGIC:
            raise DataError(f"{path}: a single array; store it in an .npz file (or a folder) under the model input's name")
    return open_npz(path)


def _read_folder(folder: Path) -> dict[str, StoredArray]:
    return {file.stem: open_npy(file) for file in sorted(folder.glob("*.npy"))}
