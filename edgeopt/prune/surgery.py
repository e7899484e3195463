"""Remove units of parts from a transformer, and prove that nothing else changed.

Removing a unit and setting to zero what reads it are the same function; `operate` computes both on real inputs and compares
them to 1e-5 before anything is trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgeopt.batches import Batch
from edgeopt.errors import InternalError
from edgeopt.models.call import tensors_of, to_tensors
from edgeopt.models.kept import Side, width
from edgeopt.models.reshape import Empty, Shape, reshape
from edgeopt.prune.losses import is_language_model
from edgeopt.prune.structure.parts import Kind, Part, mask

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Choice:
    """The units of a part that are left."""

    part: Part
    kept: tuple[int, ...]


def operate(model: nn.Module, choices: Sequence[Choice], sample: Batch) -> Shape:
    """Remove from `model`, in place, all units but those chosen; return its new shape.

    Raises:
        InternalError: its outputs on `sample` differ from those of the masked model.
    """
    for choice in choices:
        mask(model, choice.part, choice.kept)
    masked = outputs_of(model, sample)
    arity = _arity(model, choices, sample)
    shape = shape_after(model, choices, arity)
    reshape(model, shape)
    compare(masked, outputs_of(model, sample), type(model).__name__)
    return shape


def shape_after(model: nn.Module, choices: Sequence[Choice], arity: Mapping[str, int] | None = None) -> Shape:
    """Return the shape of `model` with only the chosen units; `arity` has the results of modules that are emptied."""
    gone: dict[tuple[str, Side], set[int]] = {}
    empty: dict[str, Empty] = {}
    sizes: dict[str, dict[str, int]] = {}
    for choice in choices:
        part, left = choice.part, choice.kept
        if len(left) == part.units:
            continue
        if not left:
            empty |= {
                name: Empty((arity or {}).get(name, kind.outputs), kind.whole, kind.width) for name, kind in part.empty.items()
            }
            continue
        for cut in part.cuts():
            gone.setdefault((cut.layer, cut.side), set()).update(cut.channels(set(range(part.units)) - set(left)))
        for name, values in part.sizes.items():
            sizes[name] = {attribute: value * len(left) for attribute, value in values.items()}
    if any(not choice.kept for choice in choices):
        _number_caches(model, choices, sizes)
    kept: dict[str, dict[Side, list[int]]] = {}
    for (layer, side), channels in gone.items():
        whole = range(side_width(model, layer, side))
        kept.setdefault(layer, {})[side] = [channel for channel in whole if channel not in channels]
    return Shape(kept=kept, empty=empty, sizes=sizes, cache_heads=cache_heads(model, choices))


def side_width(model: nn.Module, name: str, side: Side) -> int:
    """Return how many channels a layer, or a parameter of its own, has on `side`."""
    if side.startswith("axis"):
        return model.get_parameter(name).shape[int(side.removeprefix("axis"))]
    return width(model.get_submodule(name), side) or 0


def _number_caches(model: nn.Module, choices: Sequence[Choice], sizes: dict[str, dict[str, int]]) -> None:
    """Number the attentions that are left: a layer without heads has no cache."""
    if not is_language_model(model):
        return
    left = [choice.part.name for choice in choices if choice.part.kind is Kind.HEADS and choice.kept]
    for place, name in enumerate(left):
        if isinstance(getattr(model.get_submodule(name), "layer_idx", None), int):
            sizes.setdefault(name, {})["layer_idx"] = place


def cache_heads(model: nn.Module, choices: Sequence[Choice]) -> list[int]:
    """Return the key-value heads of each layer of a decoder that still has some, if layers differ from the configuration."""
    config = getattr(model, "config", None)
    if not is_language_model(model) or config is None:
        return []
    heads = [len(choice.kept) for choice in choices if choice.part.kind is Kind.HEADS]
    whole = [choice.part.units for choice in choices if choice.part.kind is Kind.HEADS]
    return [] if heads == whole and not getattr(config, "cache_heads", None) else [count for count in heads if count]


def _arity(model: nn.Module, choices: Sequence[Choice], sample: Batch) -> dict[str, int]:
    """Return how many results the modules that will be emptied return, 0 for a tensor."""
    wanted = {name for choice in choices if not choice.kept for name in choice.part.empty}
    found: dict[str, int] = {}
    hooks = []
    for name in wanted:

        def note(_: nn.Module, __: object, result: object, name: str = name) -> None:
            found[name] = len(result) if isinstance(result, tuple) else 0

        hooks.append(model.get_submodule(name).register_forward_hook(note))
    try:
        outputs_of(model, sample)
    finally:
        for hook in hooks:
            hook.remove()
    return found


@torch.no_grad()
def outputs_of(model: nn.Module, sample: Batch) -> list[Tensor]:
    """Return the model's outputs for `sample`, without the caches of a decoder, whose shapes change."""
    model.eval()
    given = to_tensors(sample)
    if getattr(getattr(model, "config", None), "use_cache", None):
        given = {**given, "use_cache": False}  # type: ignore[dict-item]
    return list(tensors_of(model(**given)))


def compare(masked: Sequence[Tensor], cut: Sequence[Tensor], name: str, *, kept: Sequence[int] = (), size: int = 0) -> None:
    """Compare the outputs of the masked model with those of the smaller one.

    Args:
        masked: outputs of the whole model with zeros.
        cut: outputs of the smaller one.
        name: of the model, for messages.
        kept: channels that are left of outputs with `size` channels, where those are cut, too.
        size: 0: no output is cut.

    Raises:
        InternalError: they differ by more than 1e-5 of their magnitude.
    """
    if size:
        masked = [one[..., list(kept)] if one.shape[-1:] == (size,) else one for one in masked]
    if [tensor.shape for tensor in masked] != [tensor.shape for tensor in cut]:
        raise InternalError(f"{name}: the pruned model's outputs have other shapes than the masked model's")
    for number, (before, after) in enumerate(zip(masked, cut, strict=True)):
        error = float((before - after).abs().max()) if before.numel() else 0.0
        if not error <= TOLERANCE * max(1.0, float(before.abs().max()) if before.numel() else 0.0):
            raise InternalError(f"{name}: output {number} of the pruned model differs by {error:.1e} from the masked model's")


@torch.no_grad()
def same_outputs(model: nn.Module, config: Any, sample: Batch) -> bool:
    """Return whether a model made from `config` with the weights of `model` gives the same for `sample`."""
    other = type(model)(config).eval()
    other.load_state_dict(model.state_dict())
    pairs = zip(outputs_of(model, sample), outputs_of(other, sample), strict=True)
    return all(torch.allclose(one, two, rtol=1e-4, atol=1e-5, equal_nan=True) for one, two in pairs)
