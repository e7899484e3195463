"""Calibration sets by name: the manifest's files, checked and read."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edgeopt.data.manifest import Manifest, SplitManifest, load_manifest, manifest_path, root_folder
from edgeopt.data.samples import Samples
from edgeopt.errors import DataError
from edgeopt.files import sha256


def load_set(name: str, *, tokenizer: Path | None = None) -> dict[str, Samples]:
    """Return the splits of the calibration set `name` (a name or a folder with a ``manifest.toml``).

    Args:
        name: the set.
        tokenizer: folder with ``tokenizer.json``, for sets of text.

    Raises:
        RecipeError: there is no such set.
        DataError: its files are missing or not what the manifest says.
    """
    manifest = load_manifest(name)
    splits = _read(manifest, manifest_path(name), tokenizer)
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
    place = root / split.path
    if not place.exists():
        raise DataError(f"calibration set '{manifest.name}': {place} is not there")
    if split.sha256 and content_hash(place) != split.sha256:
        raise DataError(f"calibration set '{manifest.name}': {place} is not the data its manifest names (SHA-256 differs)")
    if manifest.reader == "text":
        from edgeopt.data.text import read_sentences

        if tokenizer is None:
            raise DataError(f"calibration set '{manifest.name}' is text: name the folder that holds its tokenizer.json")
        return read_sentences(place, tokenizer, max_length=manifest.max_length, inputs=[item.name for item in manifest.inputs])
    from edgeopt.data.images import read_pictures

    if manifest.image is None:
        raise DataError(f"calibration set '{manifest.name}': its manifest lacks the table [image]")
    return read_pictures(place, manifest.inputs[0].name, manifest.image)


def content_hash(place: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's files (name and content, sorted by name)."""
    if place.is_file():
        return sha256(place)
    digest = hashlib.sha256()
    for file in sorted(place.iterdir()):
        digest.update(f"{file.name} {sha256(file)}\n".encode())
    return digest.hexdigest()


def _check(manifest: Manifest, split: str, samples: Samples) -> None:
    expected = manifest.splits[split].count if split in manifest.splits else 0  # type: ignore[index]
    if len(samples) != expected:
        raise DataError(
            f"calibration set '{manifest.name}', split {split}: {len(samples)} samples, its manifest says {expected}"
        )
    first = samples[0]
    for item in manifest.inputs:
        array = first[item.name]
        fits = len(array.shape) == len(item.shape) and all(
            isinstance(size, str) or size == got for size, got in zip(item.shape, array.shape, strict=True)
        )
        if array.dtype.name != item.dtype or not fits:
            raise DataError(
                f"calibration set '{manifest.name}', split {split}: input '{item.name}' is {array.dtype.name}{list(array.shape)}, "
                f"its manifest says {item.dtype}{item.shape}"
            )
