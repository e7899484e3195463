"""Description of this machine: processor, cores, memory, system."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path
from typing import Any

MOST_THREADS = 1024
"""More than a session can use: each is a thread of the system, and a machine that is asked for many more stops answering."""


@cache
def describe() -> dict[str, Any]:
    """Return the machine's processor, cores, memory in bytes and system; unknown entries are None."""
    return {
        "processor": _field("/proc/cpuinfo", "model name") or platform.processor() or None,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "memory_bytes": _memory_bytes(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


@cache
def cpu_flags() -> frozenset[str]:
    """Return the processor features listed in /proc/cpuinfo; empty where there is no such file."""
    return frozenset((_field("/proc/cpuinfo", "flags") or _field("/proc/cpuinfo", "Features") or "").split())


def _memory_bytes() -> int | None:
    text = _field("/proc/meminfo", "MemTotal")
    return int(text.split()[0]) * 1024 if text else None


def _field(file: str, name: str) -> str | None:
    try:
        lines = Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)
