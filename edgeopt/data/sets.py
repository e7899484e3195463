"""Calibration sets by name: the manifest's files, checked and read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from edgeopt.data.manifest import Manifest, SplitManifest, load_manifest, manifest_path, root_folder
from edgeopt.data.preprocessing import ImageInput, TokenizerInput
from edgeopt.data.samples import Samples
from edgeopt.errors import DataError, nearest
from edgeopt.extras import need
from edgeopt.files import sha256

_Kind = TypeVar("_Kind", ImageInput, TokenizerInput)


def load_set(name: str, *, tokenizer: Path | None = None, inputs: Sequence[str] = ()) -> dict[str, Samples]:
    """Return the splits of the calibration set `name` (a name or a folder with a ``manifest.toml``).

    Args:
        name: the set.
        tokenizer: folder with ``tokenizer.json``, for sets of text.
        inputs: the model's inputs, to which the tokenizer's outputs are limited; empty: all.

    Raises:
        RecipeError: there is no such set.
        DataError: its files are missing or differ from the manifest.
    """
    manifest = load_manifest(name)
    if manifest.reader == "text" and inputs:
        manifest = manifest.model_copy(update={"inputs": [item for item in manifest.inputs if item.name in inputs]})
    ranges = manifest.value_ranges()
    splits = _read(manifest, manifest_path(name), tokenizer)
    splits = {split: replace(samples, ranges=ranges) for split, samples in splits.items()}
    for split, samples in splits.items():
        _check(manifest, split, samples)
    return splits


def _read(manifest: Manifest, path: Path, tokenizer: Path | None) -> dict[str, Samples]:
    if manifest.reader == "digits":
        from edgeopt.data.digits import load_digits

        return load_digits()
    root = root_folder(manifest, path)
    return {name: _read_split(manifest, root, split, tokenizer) for name, split in manifest.splits.items()}


def _read_split(manifest: Manifest, root: Path, split: SplitManifest, tokenizer: Path | None) -> Samples:
    place = _place(manifest, root, split)
    if split.sha256 and content_hash(place) != split.sha256:
        raise DataError(f"calibration set '{manifest.name}': {place} differs from its manifest (SHA-256)")
    if manifest.reader == "text":
        from edgeopt.data.text import read_sentences

        if tokenizer is None:
            raise DataError(f"calibration set '{manifest.name}' is text: name the folder that holds its tokenizer.json")
        names = [item.name for item in manifest.inputs]
        return read_sentences(place, tokenizer, max_length=_preprocessing(manifest, TokenizerInput).max_length, inputs=names)
    if manifest.reader == "arrays":
        from edgeopt.data.arrays import read_arrays

        return read_arrays(place)
    need("PIL", purpose="reading images")
    from edgeopt.data.images import read_images

    if not place.is_dir() or not manifest.inputs:
        what = "it must list the input that the images feed" if place.is_dir() else f"{place} must be a folder of images"
        raise DataError(f"calibration set '{manifest.name}': {what}")
    return read_images(place, manifest.inputs[0].name, _preprocessing(manifest, ImageInput))


def _place(manifest: Manifest, root: Path, split: SplitManifest) -> Path:
    place = root / split.path
    if not place.exists():
        raise DataError(f"calibration set '{manifest.name}': {place} is not there")
    return place


def _preprocessing(manifest: Manifest, kind: type[_Kind]) -> _Kind:
    if not isinstance(manifest.preprocessing, kind):
        wanted = kind.model_fields["kind"].default
        raise DataError(f"calibration set '{manifest.name}': reader '{manifest.reader}' needs preprocessing of kind '{wanted}'")
    return manifest.preprocessing


def fingerprint(name: str, *, tokenizer: Path | None = None) -> str:
    """Return the SHA-256 of the set's source data, without reading samples; see `load_set`."""
    manifest, path = load_manifest(name), manifest_path(name)
    digest = hashlib.sha256(path.read_bytes())
    if manifest.reader == "digits":
        digest.update(version("scikit-learn").encode())
        return digest.hexdigest()
    root = root_folder(manifest, path)
    for split in manifest.splits.values():
        digest.update(content_hash(_place(manifest, root, split)).encode())
    if tokenizer is not None and (tokenizer / "tokenizer.json").is_file():
        digest.update(sha256(tokenizer / "tokenizer.json").encode())
    return digest.hexdigest()


def content_hash(place: Path) -> str:
    """Return the SHA-256 of a file, or of all files below a folder (path and content, sorted by path)."""
    if place.is_file():
        return sha256(place)
    digest = hashlib.sha256()
    for file in sorted(file for file in place.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(place)} {sha256(file)}\n".encode())
    return digest.hexdigest()


def _check(manifest: Manifest, split: str, samples: Samples) -> None:
    expected = next((described.count for name, described in manifest.splits.items() if name == split), 0)
    if len(samples) != expected:
        raise DataError(
            f"calibration set '{manifest.name}', split {split}: {len(samples)} samples, its manifest says {expected}"
        )
    if not expected:
        return
    first = samples[0]
    for item in manifest.inputs:
        if item.name not in first:
            raise DataError(
                f"calibration set '{manifest.name}', split {split}: its samples have no input '{item.name}'"
                f"{nearest(item.name, first)}; they have: {', '.join(first)}"
            )
        array = first[item.name]
        fits = len(array.shape) == len(item.shape) and all(
            isinstance(size, str) or size == got for size, got in zip(item.shape, array.shape, strict=True)
        )
        if array.dtype.name != item.dtype or not fits:
            raise DataError(
                f"calibration set '{manifest.name}', split {split}: input '{item.name}' is {array.dtype.name}"
                f"{list(array.shape)}, its manifest says {item.dtype}{item.shape}"
            )
