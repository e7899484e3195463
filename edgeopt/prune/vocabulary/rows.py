"""The rows of a transformers model that belong to tokens, and their removal.

Which tensors have an axis of tokens is not guessed from their names: the model's class is built without memory, once with the
vocabulary it has and once with the smaller one, and the axes whose sizes differ are cut.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgeopt.errors import ModelError, RecipeError
from edgeopt.models.reshape import share_again, shared_parameters

_LISTS = ("suppress_tokens", "begin_suppress_tokens")


def vocabulary_size(model: nn.Module) -> int:
    """Return how many tokens the model knows.

    Raises:
        RecipeError: it has no vocabulary, or one for each side.
    """
    config: Any = getattr(model, "config", None)
    size = getattr(config, "vocab_size", None)
    if not isinstance(size, int):
        raise RecipeError(f"prune.vocabulary: {type(model).__name__} has no vocabulary (vocab_size in its configuration)")
    other = getattr(config, "decoder_vocab_size", None)
    if isinstance(other, int) and (other != size or not getattr(config, "share_encoder_decoder_embeddings", True)):
        raise RecipeError(f"prune.vocabulary: {type(model).__name__} has one vocabulary for each side, which is not supported")
    return size


def special_ids(config: Any) -> set[int]:
    """Return the ids of tokens that a configuration names."""
    found: set[int] = set()
    for name, value in vars(config).items():
        if name.endswith("_token_id"):
            found |= {one for one in (value if isinstance(value, list) else [value]) if isinstance(one, int)}
    return found


def renumber(config: Any, kept: Sequence[int]) -> None:
    """Give the tokens that a configuration names their new ids, in place."""
    new = {old: place for place, old in enumerate(kept)}
    for name, value in list(vars(config).items()):
        if name.endswith("_token_id") or name in _LISTS:
            if isinstance(value, list):
                setattr(config, name, [new[one] for one in value if one in new])
            elif isinstance(value, int) and not isinstance(value, bool):
                setattr(config, name, new.get(value, value if value < 0 else None))
        elif name == "forced_decoder_ids" and value:
            config.forced_decoder_ids = [[place, new[one]] for place, one in value if one in new]


def smaller_config(config: Any, kept: Sequence[int]) -> Any:
    """Return a copy of `config` with only the tokens `kept`."""
    smaller = copy.deepcopy(config)
    renumber(smaller, kept)
    smaller.vocab_size = len(kept)
    if isinstance(getattr(smaller, "decoder_vocab_size", None), int):
        smaller.decoder_vocab_size = len(kept)
    return smaller


@torch.no_grad()
def keep_rows(model: nn.Module, kept: Sequence[int], *, whole: Any = None) -> None:
    """Remove, in place, the rows of all tokens but `kept` from `model`, and from its configuration.

    Args:
        model: a transformers model.
        kept: ids of tokens.
        whole: configuration that its class can be built from; None: its own.

    Raises:
        ModelError: its class does not follow its configuration.
    """
    base = copy.deepcopy(model.config) if whole is None else whole
    axes = _axes(type(model), base, smaller_config(base, kept))
    shared = shared_parameters(model)
    modules = dict(model.named_modules())
    indices = torch.as_tensor(list(kept))
    for name, tensor in [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]:
        if name in axes:
            owner, _, own_name = name.rpartition(".")
            _cut(modules[owner], own_name, tensor, axes[name], indices)
    share_again(model, shared)
    config = smaller_config(model.config, kept)
    for module in modules.values():
        if getattr(module, "config", None) is model.config and module is not model:
            module.config = config
    model.config = config
    generation: Any = getattr(model, "generation_config", None)
    if generation is not None:
        renumber(generation, kept)


def _axes(kind: type[nn.Module], config: Any, smaller: Any) -> dict[str, int]:
    """Return the axis of tokens of every tensor that has one, by name."""
    with torch.device("meta"):
        before, after = (
            {name: tuple(tensor.shape) for name, tensor in _tensors(kind(one)).items()} for one in (config, smaller)
        )
    found = {
        name: next(axis for axis, size in enumerate(shape) if size != after[name][axis])
        for name, shape in before.items()
        if name in after and shape != after[name]
    }
    if not found:
        raise ModelError(f"{kind.__name__} has no tensor with a row for each token of its vocabulary")
    return found


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    found: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    return found | dict(model.named_buffers(remove_duplicate=False))


def _cut(owner: nn.Module, name: str, tensor: Tensor, axis: int, indices: Tensor) -> None:
    chosen = tensor.detach().index_select(axis, indices.to(tensor.device)).clone()
    if isinstance(tensor, nn.Parameter):
        setattr(owner, name, nn.Parameter(chosen, requires_grad=tensor.requires_grad))
    else:
        setattr(owner, name, chosen)
    if isinstance(owner, nn.Embedding):
        owner.num_embeddings = len(indices)
        if owner.padding_idx is not None:
            place = (indices == owner.padding_idx).nonzero()
            owner.padding_idx = int(place[0]) if len(place) else None
    elif isinstance(owner, nn.Linear):
        owner.out_features = len(indices)
    if isinstance(getattr(owner, "vocab_size", None), int):
        owner.vocab_size = len(indices)  # type: ignore[assignment]
