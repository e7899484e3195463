"""Arrays in .npy and .npz files, read sample by sample: a file of any size takes no more memory than what is asked of it.

numpy reads an entry of an archive whole, and believes its header. Here the header is checked against the bytes that are there
before anything is allocated; what is stored plainly (`numpy.savez`) is read in place, what is compressed is unpacked once, into
memory if it is small and else into a temporary file. Objects (pickles) and structured types are refused.
"""

from __future__ import annotations

import struct
import tempfile
import tokenize
import weakref
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from threading import Lock
from typing import IO

import numpy as np

from edgeopt.batches import Array
from edgeopt.errors import DataError
from edgeopt.files import disk_errors

MAGIC = b"\x93NUMPY"
"""What a .npy file begins with."""
_CHUNK = 1 << 22  # bytes read at a time
_IN_MEMORY = 1 << 24  # bytes of an unpacked array that stay in memory
_SUSPICIOUS = 1 << 30  # bytes from which on a high compression is refused
_MOST_PACKED = 200  # bytes of an array to one of the archive
_ENTRY_HEADER = 30  # bytes before the name of an entry
_KINDS = "biufcSU"
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    SyntaxError,
    NotImplementedError,
    RuntimeError,  # (encrypted entries, and recursion)
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    tokenize.TokenError,
)


@dataclass(frozen=True)
class _Header:
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    fortran: bool
    size_bytes: int

    @property
    def content_bytes(self) -> int:
        return int(self.dtype.itemsize) * prod(self.shape)


class StoredArray:
    """An array in a file; rows are read when they are asked for."""

    def __init__(
        self, path: Path, header: _Header, *, offset: int, packed: zipfile.ZipInfo | None = None, checksum: int | None = None
    ) -> None:
        """Describe an array.

        Args:
            path: of its file.
            header: what its own header says.
            offset: where its values begin, in the file or, if it is packed, in the entry.
            packed: the entry of a compressed archive.
            checksum: CRC-32 of header and values.
        """
        self.path, self.dtype, self.shape, self.ndim = path, header.dtype, header.shape, len(header.shape)
        self._header, self._offset, self._entry, self._checksum = header, offset, packed, checksum
        self._lock = Lock()

    def __len__(self) -> int:
        """Return the size of the first axis."""
        return self.shape[0]

    def __getitem__(self, index: int) -> Array:
        """Return the values at `index` of the first axis."""
        if self._header.fortran:
            return np.asarray(self.whole()[index])
        size = self.dtype.itemsize * prod(self.shape[1:])
        return self._array(self._bytes(index * size, size)).reshape(self.shape[1:])

    def whole(self) -> Array:
        """Return all values."""
        flat = self._array(self._bytes(0, self._header.content_bytes))
        return flat.reshape(self.shape, order="F" if self._header.fortran else "C")

    def _array(self, content: bytes) -> Array:
        """Return the values in the byte order of this machine."""
        return np.frombuffer(bytearray(content), self.dtype).astype(self.dtype.newbyteorder("="), copy=False)

    def chunks(self) -> Iterator[bytes]:
        """Yield the values' bytes in C order, compared with their checksum at the end.

        Raises:
            DataError: the file is damaged.
        """
        found = zlib.crc32(self._bytes(-self._header.size_bytes, self._header.size_bytes))
        for start in range(0, self._header.content_bytes, _CHUNK):
            chunk = self._bytes(start, min(_CHUNK, self._header.content_bytes - start))
            found = zlib.crc32(chunk, found)
            if not self._header.fortran:
                yield chunk
        if self._header.fortran:
            yield self.whole().tobytes()
        if self._checksum is not None and found != self._checksum:
            raise DataError(f"{self.path}: damaged (its checksum differs); write or copy it again")

    def _bytes(self, start: int, size: int) -> bytes:
        with self._lock:
            if isinstance(self._content, bytes):
                found = self._content[self._offset + start : self._offset + start + size]
            elif isinstance(self._content, Path):
                with self._content.open("rb") as file:
                    file.seek(self._offset + start)
                    found = file.read(size)
            else:
                self._content.seek(self._offset + start)
                found = self._content.read(size)
        if len(found) != size:
            raise DataError(f"{self.path}: ends early; was it changed while it was read? write it again")
        return found

    @cached_property
    def _content(self) -> Path | bytes | IO[bytes]:
        """Where the values are: the file itself, unpacked bytes, or a temporary file of them, which has no name."""
        if self._entry is None:
            return self.path
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self._entry) as packed:
                if self._entry.file_size <= _IN_MEMORY:
                    return packed.read()
                file = _unpacked(packed)
                weakref.finalize(self, file.close)
                return file
        except _UNREADABLE as error:
            raise DataError(f"{self.path}: {_reason(error, '.npz')}") from error


def _unpacked(packed: IO[bytes]) -> IO[bytes]:
    """Return a temporary file, which has no name, with what the entry unpacks to."""
    with disk_errors(Path(tempfile.gettempdir())):
        file = tempfile.TemporaryFile(prefix="edgeopt-")  # noqa: SIM115  (its array closes it)
        while chunk := packed.read(_CHUNK):
            file.write(chunk)
        file.flush()
    return file


def open_npy(path: Path) -> StoredArray:
    """Return the array in a .npy file.

    Raises:
        DataError: it is none, not a whole one, or of objects or records.
    """
    try:
        with path.open("rb") as file:
            header = _header(file)
            _check(header, path.stat().st_size - header.size_bytes)
    except _UNREADABLE as error:
        raise DataError(f"{path}: {_reason(error, '.npy')}") from error
    return StoredArray(path, header, offset=header.size_bytes)


def open_npz(path: Path) -> dict[str, StoredArray]:
    """Return the arrays in an .npz file, by name.

    Raises:
        DataError: it is none, not a whole one, encrypted, unpacks to far more than it is, or holds objects or records.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_packing(entries)
            arrays = {entry.filename.removesuffix(".npy"): _opened(archive, entry, path) for entry in entries}
    except _UNREADABLE as error:
        raise DataError(f"{path}: {_reason(error, '.npz')}") from error
    if len(arrays) != len(entries):
        raise DataError(f"{path}: holds two arrays of one name; write it again")
    return arrays


def write_npz(stream: IO[bytes], arrays: Mapping[str, Array]) -> None:
    """Write arrays as `numpy.savez` does, which takes no array called ``file`` or ``allow_pickle``."""
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)


class _Refused(ValueError):  # noqa: N818  (a reason, not an error of its own)
    """Why an array is not read."""


def _reason(error: BaseException, kind: str) -> str:
    if isinstance(error, _Refused):
        return f"{error}; store arrays of numbers, one per model input, as numpy.savez writes them"
    if isinstance(error, zipfile.BadZipFile) and "CRC" in str(error):
        return "damaged (its checksum differs); write or copy it again"
    if isinstance(error, IsADirectoryError):
        return f"a folder where a {kind} file should be; name the file"
    return f"damaged {kind} file, or one of pickled objects, which are never loaded; write it again"


def _check_packing(entries: list[zipfile.ZipInfo]) -> None:
    packed, unpacked = (sum(sizes) for sizes in ([e.compress_size for e in entries], [e.file_size for e in entries]))
    if unpacked > _SUSPICIOUS and unpacked > _MOST_PACKED * max(packed, 1):
        raise _Refused(f"unpacks from {packed:,} to {unpacked:,} bytes, which is refused")
    if any(entry.flag_bits & 1 for entry in entries):
        raise _Refused("is encrypted")
    if any(entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED} for entry in entries):
        raise _Refused("is compressed in a way that numpy does not write")


def _opened(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> StoredArray:
    with archive.open(entry) as file:
        header = _header(file)
    _check(header, entry.file_size - header.size_bytes)
    if entry.compress_type != zipfile.ZIP_STORED:
        return StoredArray(path, header, offset=header.size_bytes, packed=entry)
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        # the last two fields of the entry's own header: lengths of name and extra field, which may differ from the directory's
        name, extra = struct.unpack("<HH", file.read(_ENTRY_HEADER)[-4:])
        start = entry.header_offset + _ENTRY_HEADER + name + extra
        _check(header, path.stat().st_size - start - header.size_bytes, exact=False)
    return StoredArray(path, header, offset=start + header.size_bytes, checksum=entry.CRC)


def _header(file: IO[bytes]) -> _Header:
    version = np.lib.format.read_magic(file)
    if version not in {(1, 0), (2, 0), (3, 0)}:
        raise _Refused(f"has a header of the unknown version {version}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    return _Header(np.dtype(dtype), tuple(shape), bool(fortran), file.tell())


def _check(header: _Header, available: int, *, exact: bool = True) -> None:
    dtype = header.dtype
    if dtype.hasobject:
        raise _Refused("holds pickled objects, which are never loaded")
    if dtype.names is not None or dtype.subdtype is not None or dtype.kind not in _KINDS or not dtype.itemsize:
        raise _Refused(f"holds values of the type {str(dtype)[:80]}, which no model takes")
    if any(isinstance(size, bool) or size < 0 for size in header.shape):
        raise _Refused(f"has the impossible shape {header.shape}")
    if header.content_bytes > available or (exact and header.content_bytes != available):
        raise _Refused(f"ends early or late: {header.content_bytes:,} bytes by its header, {available:,} are there")
