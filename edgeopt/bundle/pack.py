"""Pack a bundle into one file, the same bytes for the same bundle, and unpack such a file without trusting it.

.tar.zst (package zstandard) or .zip, by the suffix. Entries are sorted, without times, owners or permissions. Unpacking takes
plain files alone: no links, no devices, no absolute or climbing paths, no more than what the limits allow.
"""

from __future__ import annotations

import errno
import io
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from edgeopt import files
from edgeopt.bundle.verify import device_verify
from edgeopt.errors import DataError, ModelError, RecipeError
from edgeopt.extras import need
from edgeopt.lifetime import temporary_folder

_SUFFIXES = (".tar.zst", ".zip")
_MOST_BYTES = 64 << 30
_MOST_FILES = 100_000
_MOST_RATIO = 200
_MOST_HEADER_BYTES = 1 << 20
"""Of what comes before an entry of a .tar: its name, and comments that are read into memory."""
_STAMP = (1980, 1, 1, 0, 0, 0)
_BLOCK = 1 << 20
_OF_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}


def pack_bundle(bundle: Path, output: Path) -> None:
    """Write the bundle in the folder `bundle` to the file `output` (.tar.zst or .zip).

    Raises:
        ModelError: `bundle` is no bundle, or holds links.
        RecipeError: the suffix of `output` is another, or it lies in a bundle.
        MachineError: `output` cannot be written.
    """
    _kind(output)
    if not (bundle / "bundle.json").is_file():
        raise ModelError(f"{bundle}: no bundle.json in it; give the folder of a bundle")
    paths = sorted(path for path in bundle.rglob("*") if not path.is_dir())
    for path in paths:
        if path.is_symlink() or not path.is_file():
            raise ModelError(f"{path}: not a plain file; a bundle holds plain files")
    refuse_in_bundle(output)
    names = sorted((path.relative_to(bundle).as_posix(), path) for path in paths)
    with files.write_aside(output) as aside, aside.open("wb") as target:
        (_write_zip if output.name.endswith(".zip") else _write_tar)(target, names)


def unsafe_name(name: str) -> str | None:
    """Return why no file of a bundle may be called `name`; None: one may."""
    return None if name in ("bundle.json", "SHA256SUMS", "model.sig") else device_verify().unsafe(name)


def refuse_in_bundle(output: Path) -> None:
    """Raise an error if `output` lies in a bundle, which would then hold files that it does not record."""
    bundle = next((folder for folder in output.resolve().parents if (folder / "bundle.json").is_file()), None)
    if bundle is not None:
        raise RecipeError(
            f"{output}: lies in the bundle {bundle.name}, which holds its recorded files alone; give another place"
        )


def unpack_bundle(archive: Path, output: Path) -> None:
    """Unpack the file `archive` into the new folder `output`; nothing is written anywhere else.

    Raises:
        DataError: it is damaged, too large, or holds anything but plain files with plain relative names.
        RecipeError: `output` exists already, or the suffix of `archive` is not one of a packed bundle.
    """
    kind = _kind(archive)
    if output.exists():
        raise RecipeError(f"{output}: exists already; give a new folder")
    if not archive.is_file():
        raise DataError(f"{archive}: no such file")
    with files.disk_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as parent:
            aside = Path(parent) / "bundle"
            aside.mkdir()
            (_read_zip if kind == ".zip" else _read_tar)(archive, aside)
            if not (aside / "bundle.json").is_file():
                raise DataError(f"{archive}: holds no bundle.json, so it is no bundle; edgeopt pack makes one of a bundle")
            aside.replace(output)


DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError, LookupError)
"""What Python's reader of .zip raises, one or the other, on damaged archives."""


@contextmanager
def unpacked(place: Path) -> Iterator[Path]:
    """Yield the folder of a bundle: `place` itself, or what the packed file `place` holds, for as long as the block lasts."""
    if place.is_dir() or not place.name.endswith(_SUFFIXES):
        yield place
        return
    with temporary_folder("edgeopt-bundle-") as parent:
        unpack_bundle(place, parent / "bundle")
        yield parent / "bundle"


def _kind(path: Path) -> str:
    for suffix in _SUFFIXES:
        if path.name.endswith(suffix):
            return suffix
    raise RecipeError(f"{path}: a packed bundle is called NAME{' or NAME'.join(_SUFFIXES)}")


def _write_zip(target: IO[bytes], names: list[tuple[str, Path]]) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in names:
            entry = zipfile.ZipInfo(name, _STAMP)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as place:
                shutil.copyfileobj(source, place, _BLOCK)


def _write_tar(target: IO[bytes], names: list[tuple[str, Path]]) -> None:
    need("zstandard", purpose="packing to .tar.zst")
    import zstandard

    with (
        zstandard.ZstdCompressor(level=19).stream_writer(target, closefd=False) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, path in names:
            entry = tarfile.TarInfo(name)
            entry.size = path.stat().st_size
            with path.open("rb") as source:
                archive.addfile(entry, source)


def _read_zip(path: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > max(_MOST_RATIO * path.stat().st_size, 1 << 20):
                raise DataError(f"{path}: unpacks to more than {_MOST_RATIO} times its size; refused")
            limits = _Limits(path)
            for entry in entries:
                mode = entry.external_attr >> 16
                if entry.is_dir() or (mode & 0o170000) not in (0, 0o100000):
                    raise DataError(f"{path}: '{entry.filename[:80]}' is not a plain file; refused")
                with archive.open(entry) as source:
                    limits.take(entry.filename, source, folder)
    except (*DAMAGED_ZIP, OSError) as error:
        if is_of_disk(error):
            raise
        raise DataError(f"{path}: not a .zip that can be read: {_said(error)}") from error


def _read_tar(path: Path, folder: Path) -> None:
    need("zstandard", purpose="reading .tar.zst")
    import zstandard

    try:
        with (
            path.open("rb") as packed,
            zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(packed) as stream,
            _Bounded(io.BufferedReader(stream, _BLOCK), path) as bounded,
            tarfile.open(fileobj=bounded, mode="r|") as archive,
        ):
            limits = _Limits(path)
            for entry in archive:
                bounded.left = entry.size + _MOST_HEADER_BYTES
                if not entry.isreg():
                    raise DataError(f"{path}: '{entry.name[:80]}' is not a plain file; refused")
                source = archive.extractfile(entry)
                if source is not None:
                    limits.take(entry.name, source, folder)
    except (tarfile.TarError, zstandard.ZstdError, EOFError, ValueError, OSError) as error:
        if is_of_disk(error):
            raise
        raise DataError(f"{path}: not a .tar.zst that can be read: {_said(error)}") from error


class _Bounded(io.RawIOBase):
    """A stream that gives `left` bytes more at most."""

    def __init__(self, stream: io.BufferedReader, path: Path) -> None:
        super().__init__()
        self._stream, self._path = stream, path
        self.left = _MOST_HEADER_BYTES

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        content = self._stream.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise DataError(f"{self._path}: the header of an entry is larger than {_MOST_HEADER_BYTES} bytes; refused")
        return content


class _Limits:
    """Counts what an archive unpacks to, and refuses more than it may be."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes_left = min(_MOST_BYTES, max(_MOST_RATIO * path.stat().st_size, 1 << 20))
        self._names: set[str] = set()

    def take(self, name: str, source: IO[bytes], folder: Path) -> None:
        """Write one entry below `folder`."""
        reason = unsafe_name(name)
        if reason:
            raise DataError(f"{self._path}: '{name[:80]}' {reason}; refused")
        if name in self._names or len(self._names) >= _MOST_FILES:
            raise DataError(f"{self._path}: '{name[:80]}' comes twice, or is one of more than {_MOST_FILES} files; refused")
        self._names.add(name)
        place = folder.joinpath(*name.split("/"))
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as target:
            while block := source.read(_BLOCK):
                self._bytes_left -= len(block)
                if self._bytes_left < 0:
                    raise DataError(f"{self._path}: unpacks to more than {_MOST_RATIO} times its size; refused")
                target.write(block)


def is_of_disk(error: Exception) -> bool:
    """Return whether an error is of the place that is written to (full, not permitted), and not of what is read."""
    return isinstance(error, OSError) and error.errno in _OF_DISK


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
