"""PyTorch's weights out of memory while onnxruntime runs the exported graph beside them.

A model of 3 GB must export on a machine of 4, so its weights must not be in memory twice. Passes that merge or transpose
weights leave a recipe (`graph.tensors.Rows`), and the file is written tensor by tensor, aligned to pages, so that onnxruntime
maps it (`graph.files`). What is left are PyTorch's own: those mapped from a safetensors file are returned to the operating
system, which reads them again when they are touched; those that exist only in memory go to a temporary file and come back.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

_MADV_PAGEOUT = 21


@contextmanager
def out_of_memory(module: torch.nn.Module, folder: Path) -> Iterator[None]:
    """Keep the weights of `module` out of memory while the block runs; nothing may read them meanwhile.

    Args:
        module: on the CPU.
        folder: for the temporary file of the weights that exist only in memory, which is as large as they are.
    """
    storages: dict[int, torch.UntypedStorage] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        storage = tensor.untyped_storage()
        if storage.nbytes():
            storages.setdefault(storage.data_ptr(), storage)
    kept = [storage for storage in storages.values() if storage.resizable()]
    for storage in storages.values():
        if not storage.resizable():
            page_out(storage)
    spill = Path(folder) / "weights.spill"
    sizes = [storage.nbytes() for storage in kept]
    try:
        with spill.open("wb") as file:
            for storage in kept:
                file.write(_bytes(storage))
        for storage in kept:
            storage.resize_(0)
        yield
    finally:
        _restore(kept, sizes, spill)
        spill.unlink(missing_ok=True)


def _restore(storages: Sequence[torch.UntypedStorage], sizes: Sequence[int], spill: Path) -> None:
    with spill.open("rb") as file:
        for storage, size in zip(storages, sizes, strict=True):
            if storage.nbytes():  # it never left
                file.seek(size, 1)
                continue
            storage.resize_(size)
            file.readinto(_bytes(storage))


def _bytes(storage: torch.UntypedStorage) -> Any:
    """Return the memory of `storage` as a writable buffer."""
    return (ctypes.c_ubyte * storage.nbytes()).from_address(storage.data_ptr())


def page_out(storage: torch.UntypedStorage) -> None:
    """Advise the system to drop the whole pages of a mapped file; they are read again when touched."""
    if storage.resizable():  # only in memory: there is no file to read it from again
        return
    address, size = storage.data_ptr(), storage.nbytes()
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    start = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
    length = (address + size - start) // mmap.PAGESIZE * mmap.PAGESIZE
    if madvise is not None and length > 0:
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), _MADV_PAGEOUT)
