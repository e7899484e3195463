"""Memory that a process holds and does not need: returned to the system once a model is loaded (on Linux alone).

Loading reads a model's file and packs its weights into another layout. Two things stay behind: what the allocator keeps of the
memory that was freed, and the pages of the mapped file, most of which are never read again. Both count as resident, and neither
is used. Pages that are needed after all are read from the file again.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

_DO_NOT_NEED = 4
"""MADV_DONTNEED of madvise(2)."""


def return_memory(folder: Path) -> int:
    """Return unused memory, and the unchanged pages of mapped files in `folder`; return how many bytes of files were let go."""
    if sys.platform != "linux":
        return 0
    try:
        library = ctypes.CDLL(None)
        regions = list(_unchanged(Path("/proc/self/smaps").read_text(encoding="utf-8"), f"{folder.resolve()}/"))
    except (OSError, UnicodeDecodeError):
        return 0
    if hasattr(library, "malloc_trim"):  # (glibc has it, musl does not)
        library.malloc_trim(0)
    gone = 0
    for start, end in regions:
        if library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _DO_NOT_NEED) == 0:
            gone += end - start
    return gone


def _unchanged(smaps: str, prefix: str) -> Iterator[tuple[int, int]]:
    """Yield the addresses of mappings of files below `prefix` in which nothing was written (see proc_pid_smaps(5))."""
    region: tuple[int, int] | None = None
    for line in smaps.splitlines():
        first, _, rest = line.partition(" ")
        if "-" in first and not first.endswith(":"):
            start, end = (int(part, 16) for part in first.split("-"))
            region = (start, end) if prefix in rest else None
        elif first == "Anonymous:" and region is not None and rest.split()[0] == "0":
            yield region


def peak_rss_bytes() -> int | None:
    """Return the largest memory of this process so far; None where the system does not say."""
    try:
        resource = import_module("resource")  # (which Windows lacks)
    except ImportError:
        return None
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)
