"""Whether what is left of a transformer is uniform, so that its own configuration describes it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from edgeopt.models.embeddings import token_embeddings
from edgeopt.models.reshape import Shape, fitting_config
from edgeopt.prune.structure.heads import heads
from edgeopt.prune.structure.names import WIDTHS
from edgeopt.prune.structure.neurons import neurons

_WIDTHS = ("intermediate_size", "encoder_ffn_dim", "decoder_ffn_dim", "d_ff", "n_inner", "hidden_dim", "ffn_dim")
_HEADS = ("num_attention_heads", "encoder_attention_heads", "decoder_attention_heads", "num_heads")


def uniform_config(model: nn.Module, whole: Any, shape: Shape) -> Any | None:
    """Return a configuration whose model has exactly the weights of `model`, or None if there is none.

    Args:
        model: pruned.
        whole: the configuration of the whole model.
        shape: what `model` is of it.
    """
    if shape.empty or whole is None:
        return None
    config = copy.deepcopy(model.config)
    if hasattr(config, "cache_heads"):
        del config.cache_heads
    return fitting_config(model, config, list(_changes(model, config)))


def _narrower(model: nn.Module, config: Any) -> Iterator[tuple[str, int]]:
    """Yield the hidden width under each of its names, where the embeddings are narrower than the configuration says."""
    size = getattr(token_embeddings(model), "embedding_dim", None)
    whole = next((value for name in WIDTHS if isinstance(value := getattr(config, name, None), int)), None)
    if isinstance(size, int) and whole is not None and size < whole:
        yield from ((name, size) for name in WIDTHS if getattr(config, name, None) == whole)


def _changes(model: nn.Module, config: Any) -> Iterator[Mapping[str, int]]:
    """Yield what may have to change in `config`: the numbers of heads and neurons, where they are the same in all layers."""
    units = {(part.units, part.readers[0].width) for part in heads(model)}
    widths = {part.units for part in neurons(model)}
    change = dict(_narrower(model, config))
    if len(widths) == 1:
        change |= {name: next(iter(widths)) for name in _WIDTHS if isinstance(getattr(config, name, None), int)}
        if getattr(config, "n_inner", 0) is None:
            change["n_inner"] = next(iter(widths))
    yield change
    if len(units) != 1:
        return
    (count, width), key_values = next(iter(units)), getattr(config, "num_key_value_heads", None)
    size = getattr(config, "head_dim", None) or getattr(config, "d_kv", None)
    queries = count * width // size if isinstance(size, int) else count
    change |= {name: queries for name in _HEADS if isinstance(getattr(config, name, None), int)}
    yield change
    if isinstance(key_values, int):
        yield {**change, "num_key_value_heads": count}
