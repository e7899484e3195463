"""Memory that is given back when it is free: without that, taking tensors in turns would save nothing.

glibc raises the size from which it maps blocks by themselves each time such a block is freed (up to 32 MiB); later activations
come from its heap, where what is freed stays with the process. Setting the size by hand ends that.
"""

from __future__ import annotations

import ctypes
import sys

_M_MMAP_THRESHOLD = -3  # glibc's malloc.h
_THRESHOLD_BYTES = 1 << 16


def give_back_freed_blocks() -> bool:
    """Tell the C library to map large blocks by themselves, for the rest of the process; return whether it could."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt and mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES))
