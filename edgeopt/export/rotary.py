"""Rotary frequencies that depend on the length of the text, without control flow and without state.

Two kinds of scaled rotary positions change with n = max(position_ids) + 1, the length so far:

    dynamic   base ← base · (factor · n / m − (factor − 1))^(d / (d − 2)) beyond m = max_position_embeddings (NTK scaling)
    longrope  one set of frequencies up to original_max_position_embeddings, another beyond (https://arxiv.org/abs/2402.13753)

transformers decides with an `if`, writes the frequencies into a buffer and, for `dynamic`, remembers the longest text it has
seen. While a module is traced the same formulas are chosen by `torch.where`:

    frequencies = where(n > m, scaled(n), original)

That is what a model computes which has not seen a longer text. For the comparison, PyTorch's state is cleared
before each run and restored afterwards. As in transformers, keys in a cache keep the frequencies of the step
they were made in.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch

from edgeopt.batches import Array, Batch

_MEMORY = "max_seq_len_cached"


@contextmanager
def rotary_for_export(module: torch.nn.Module) -> Iterator[None]:
    """Make the rotary embeddings inside `module` that depend on the length traceable and stateless in the block."""
    with ExitStack() as stack:
        for part in module.modules():
            if _kinds(part):
                stack.enter_context(_without_memory(part))
        yield


def beyond(module: torch.nn.Module, batch: Batch) -> list[dict[str, Array]]:
    """Return `batch` at positions where the frequencies of `module` are scaled; [] if none are, or it has no positions."""
    limits = [_limit(part, layer) for part in module.modules() for layer in _kinds(part)]
    if not limits or "position_ids" not in batch:
        return []
    return [{**batch, "position_ids": batch["position_ids"] + np.int64(max(limits))}]


def _kinds(part: Any) -> dict[str, str]:
    """Return the kinds of scaling of `part` that depend on the length, by layer type ("" where all layers have one)."""
    kinds = getattr(part, "rope_type", None)
    if isinstance(kinds, str):
        kinds = {"": kinds}
    if not isinstance(kinds, Mapping):
        return {}
    changing = {layer: kind for layer, kind in kinds.items() if kind == "longrope" or "dynamic" in kind}
    return {layer: kind for layer, kind in changing.items() if hasattr(part, f"{_prefix(layer)}original_inv_freq")}


def _prefix(layer: str) -> str:
    return f"{layer}_" if layer else ""


def _limit(part: Any, layer: str) -> int:
    """Return the largest length with the original frequencies."""
    if _kinds(part)[layer] != "longrope":
        return int(part.original_max_seq_len)
    parameters = part.config.rope_parameters
    return int((parameters[layer] if layer else parameters)["original_max_position_embeddings"])


@contextmanager
def _without_memory(part: Any) -> Iterator[None]:
    kinds = _kinds(part)
    buffers, attributes = dict(part._buffers), {name: value for name, value in vars(part).items() if name.endswith(_MEMORY)}
    inner: Callable[..., Any] = inspect.unwrap(type(part).forward)

    def forward(x: torch.Tensor, position_ids: torch.Tensor, *layer_type: str, **named: str) -> Any:
        if torch.compiler.is_exporting():
            now = {f"{_prefix(layer)}inv_freq": _frequencies(part, layer, position_ids) for layer in kinds}
            return inner(_Seen(part, now), x, position_ids, *layer_type, **named)
        for layer in kinds:
            setattr(part, f"{_prefix(layer)}inv_freq", getattr(part, f"{_prefix(layer)}original_inv_freq").clone())
            vars(part).pop(f"{_prefix(layer)}{_MEMORY}", None)
        setattr(part, _MEMORY, part.original_max_seq_len)
        return type(part).forward(part, x, position_ids, *layer_type, **named)

    part.forward = forward
    try:
        yield
    finally:
        del part.forward
        part._buffers.update(buffers)
        for name in [name for name in vars(part) if name.endswith(_MEMORY)]:
            delattr(part, name)
        vars(part).update(attributes)


class _Seen:
    """A stand-in for a rotary embedding in its own forward, with other frequencies."""

    def __init__(self, part: Any, frequencies: Mapping[str, torch.Tensor]) -> None:
        self._part, self._frequencies = part, frequencies

    def __getattr__(self, name: str) -> Any:
        found = self._frequencies.get(name)
        return getattr(self._part, name) if found is None else found


def _frequencies(part: Any, layer: str, position_ids: torch.Tensor) -> torch.Tensor:
    """Return the inverse frequencies for the longest text in `position_ids`, [features / 2]."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    kind, limit = _kinds(part)[layer], _limit(part, layer)
    length = position_ids.max() + 1
    scaled, _ = ROPE_INIT_FUNCTIONS[kind](
        part.config,
        position_ids.device,
        seq_len=limit + 1 if kind == "longrope" else length,
        **({"layer_type": layer} if layer else {}),
    )
    original = getattr(part, f"{_prefix(layer)}original_inv_freq")
    return torch.where(length > limit, scaled, original)
