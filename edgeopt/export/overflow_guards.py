"""float16 guards of transformers models, which depend on values, made independent of them for the export.

BART and its relatives check after each layer whether a number left float16's range, and only then clamp all of them:

    if hidden_states.dtype == torch.float16 and not torch.isfinite(hidden_states).all():
        hidden_states = torch.clamp(hidden_states, min=-64504, max=64504)

A graph has no such `if`. While tracing the answer is always "not all finite", so that the clamp is always there: equal
but for finite numbers beyond ±64504, which are clamped (float16 ends at 65504). Whisper and T5 always clamp, too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def guards_for_export(module: torch.nn.Module) -> Iterator[None]:
    """Make the float16 guards in the code of the transformers models inside `module` always apply while the block runs."""
    names = {type(part).__module__ for part in module.modules()}
    sources = [vars(sys.modules[name]) for name in sorted(names) if name.startswith("transformers.models.")]
    changed = [source for source in sources if source.get("torch") is torch]
    for source in changed:
        source["torch"] = _Torch()
    try:
        yield
    finally:
        for source in changed:
            source["torch"] = torch


class _Torch:
    """torch, but for `isfinite` of float16 tensors."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    @staticmethod
    def isfinite(tensor: torch.Tensor) -> Any:
        return _NotAll() if tensor.dtype == torch.float16 else torch.isfinite(tensor)


class _NotAll:
    """The result of `isfinite` with which a guard applies."""

    @staticmethod
    def all() -> bool:
        return False
