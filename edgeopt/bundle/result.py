"""What writing a bundle returns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BundleFile:
    """A file of a bundle."""

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class BundleResult:
    """Facts about a written bundle; ``dataclasses.asdict`` of it is what the report reads."""

    path: str
    """Name of the bundle's folder."""
    sha256: str
    """SHA-256 of its ``SHA256SUMS``, which covers every other file: the hash of the bundle."""
    size_bytes: int
    """All files together."""
    files: tuple[BundleFile, ...]
    """Every file but ``SHA256SUMS``, sorted by path."""
    minimum_onnxruntime: str | None
    """The oldest onnxruntime known to load the model; none: not known."""
    verified: bool
    """It was verified after writing, before it took its place (always true: a bundle that does not verify is not written)."""
    checks: tuple[str, ...]
    """What that verification found, in words."""
