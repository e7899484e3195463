"""float16 guards of transformers models, which depend on values, as the exported graph wants them.

BART and its relatives look after each layer whether a number left float16's range, and only then limit all of them:

    if hidden_states.dtype == torch.float16 and not torch.isfinite(hidden_states).all():
        hidden_states = torch.clamp(hidden_states, min=-64504, max=64504)

A graph has no such `if`. While it is traced the answer is always "not all finite", so that the limits are always there: equal
but for finite numbers beyond ±64504, which become that (float16 ends at 65504). Whisper and T5 limit always, too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def guards_for_export(module: torch.nn.Module) -> Iterator[None]:
    """Let the float16 guards in the code of the transformers models inside `module` always take hold while the block runs."""
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
    """The answer of `isfinite` that makes a guard take hold."""

    @staticmethod
    def all() -> bool:
        return False
