"""Atomic files: written to a temporary file, flushed to the disk, renamed; and their hashes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from edgeopt import progress
from edgeopt.errors import DiskFullError, EdgeoptError, MachineError

_HOST = re.sub(r"[^A-Za-z0-9]", "", platform.node()) or "host"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")
"""What numpy says where a disk is full, without the system's number."""
_NO_PLACE = {errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_DENIAL = "no permission to write here; choose another place or change its permissions"


@contextmanager
def write_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary path; on success its file replaces `path` in one step, on failure it is removed.

    Raises:
        MachineError: the disk is full, or `path` cannot be written; the file that was at `path` is intact.
    """
    path = Path(path)
    aside = path.with_name(f"{aside_prefix(path)}part")
    with disk_errors(path):
        if path.is_dir():
            raise MachineError(f"{path}: is a folder; give the name of a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)
        try:
            yield aside
            flush(aside)
            aside.replace(path)
            flush(path.parent)
        finally:
            aside.unlink(missing_ok=True)


def aside_prefix(path: Path) -> str:
    """Return the prefix of this process' temporary files for `path`: it names host and process."""
    return f".{path.name}.{_HOST}-{os.getpid()}."


def remove_leftovers(path: Path) -> None:
    """Remove temporary files for `path` of processes of this host that no longer run (after a kill or power cut)."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.{re.escape(_HOST)}-(\d+)\.(?:.*\.)?part")
    with os.scandir(path.parent) as entries:
        found = [(Path(entry.path), pattern.fullmatch(entry.name)) for entry in entries]
    for leftover, match in found:
        if match and not alive(int(match[1])):
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


@contextmanager
def exclusive(lock: Path, what: str) -> Iterator[None]:
    """Hold the lock file `lock` for this process; wait while another one has it, and say so, calling it `what`.

    The system lets go of the lock when the process ends, however it does.

    Raises:
        MachineError: the file cannot be made here.
    """
    holder = lock.with_name(f"{lock.name}-holder")
    with disk_errors(lock.parent):
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(lock)
        try:
            held.acquire(blocking=False)
        except Timeout:
            progress.note(f"{what}: another process ({_read_holder(holder)}) is working here; waiting for it")
            held.acquire()
    try:
        with suppress(OSError):  # only said to those who wait
            holder.write_text(str(os.getpid()), encoding="ascii")
        yield
    finally:
        held.release()


def _read_holder(holder: Path) -> str:
    """Return the id of the process that holds a lock; it writes it just after it took the lock, so wait a moment for it."""
    for _ in range(20):
        with suppress(OSError):
            written = holder.read_text(encoding="ascii", errors="replace")[:20].strip()
            if written.isdecimal() and alive(int(written)):
                return written
        time.sleep(0.05)
    return "unknown"


def alive(process: int) -> bool:
    """Return whether a process of this machine runs; True where that cannot be told."""
    if os.name == "nt":
        return True  # signal 0 ends a process there; what is left aside stays
    try:
        os.kill(process, 0)  # signal 0 only checks whether the process exists
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the system's "disk full", "not permitted" and "cannot be created" into a `MachineError` that names `path`."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, EdgeoptError) and is_disk_full(error):
            raise DiskFullError(_full(path)) from error
        if isinstance(error, shutil.Error):
            if _codes(error) & _DENIED:
                raise MachineError(f"{path}: {_DENIAL}") from error
            raise MachineError(f"{path}: cannot be written: {' '.join(str(error).split())[:200]}") from error
        if not isinstance(error, OSError):
            raise
        if error.errno in _DENIED:
            raise MachineError(f"{path}: {_DENIAL}") from error
        place = Path(error.filename) if error.filename else None
        if error.errno in _NO_PLACE and place in (path, *path.parents):
            raise MachineError(f"{path}: cannot be created ({error.strerror}: {place}); choose another place") from error
        if (
            error.errno == errno.ENOENT and place is not None and place.name.startswith(f".{path.name}.")
        ):  # (what is written aside)
            raise MachineError(f"{path}: no file can be created in {place.parent}; choose another place") from error
        raise


def is_disk_full(error: BaseException) -> bool:
    """Return whether an exception means that the disk is full, or a file larger than the system allows."""
    short = isinstance(error, OSError) and _SHORT_WRITE.fullmatch(str(error))
    return bool(short or _codes(error) & _FULL)


def _codes(error: BaseException) -> set[int]:
    """Return the system's error numbers: the exception's own, or those in its text."""
    if isinstance(error, shutil.Error):  # of a whole folder: (from, to, why) for each file
        return {int(code) for code in re.findall(r"\[Errno (\d+)\]", str(error))}
    if isinstance(error, OSError):
        return {error.errno or 0}
    code = re.search(r"\(os error (\d+)\)", str(error))  # how libraries written in Rust report it
    return {int(code[1])} if code else set()


def _full(path: Path) -> str:
    return f"{path}: the disk is full; free some space and run again; the previous file is intact"


def flush(path: Path) -> None:
    """Flush the file or folder at `path` to the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, values: Any) -> None:
    """Write `values` as JSON (keys sorted, one trailing newline) to `path`, atomically."""
    text = json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """Return the SHA-256 of the file at `path`, in hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
