"""Intermediate results of a model, recorded while it runs: hidden states, queries, keys and values, feature maps.

    with recording(model, ["encoder.layer.2"]) as seen:
        model(**inputs)
    seen["encoder.layer.2"]

Forward hooks see any module, so nothing is asked of the model's own outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from edgeopt.errors import ModelError, nearest

_PROJECTIONS = (
    ("query", "key", "value"),
    ("q_proj", "k_proj", "v_proj"),
    ("q_lin", "k_lin", "v_lin"),
    ("q", "k", "v"),
)
"""What families call the layers that make queries, keys and values."""


@contextmanager
def recording(model: nn.Module, modules: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Yield a dictionary that holds the output of each of the named `modules` after the model ran inside the block.

    Of a module that returns several tensors, the first is recorded.

    Raises:
        ModelError: there is no such module.
    """
    known = dict(model.named_modules())
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:  # noqa: ARG001
            seen[name] = output if isinstance(output, Tensor) else _first(output, name)

        return hook

    handles = []
    try:
        for name in dict.fromkeys(modules):
            if name not in known:
                raise ModelError(f"{type(model).__name__} has no module '{name}'{nearest(name, known)}")
            handles.append(known[name].register_forward_hook(keep(name)))
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _first(output: Any, name: str) -> Tensor:
    values = output.values() if hasattr(output, "values") else output
    found = next((value for value in values if isinstance(value, Tensor)), None) if values is not None else None
    if found is None:
        raise ModelError(f"module '{name}' returns no tensor that could be recorded")
    return found


def layer_stack(model: nn.Module, count: int | None = None) -> str:
    """Return the name of the one list of `count` layers (None: as many as its config says).

    Raises:
        ModelError: there is none, or several.
    """
    count = count if count is not None else _layer_count(model)
    names: list[str] = [
        name for name, module in model.named_modules() if isinstance(module, nn.ModuleList) and len(module) == count
    ]
    if len(names) != 1:
        raise ModelError(
            f"{type(model).__name__} has {len(names)} stacks of {count} layers; layers can be chosen only from one"
        )
    return names[0]


def layer_names(model: nn.Module) -> list[str]:
    """Return the names of the layers of a transformers model, from the first to the last.

    Raises:
        ModelError: it has no layers to choose from.
    """
    count = _layer_count(model)
    stack = layer_stack(model, count)
    return [f"{stack}.{index}" for index in range(count)]


def _layer_count(model: nn.Module) -> int:
    config = getattr(model, "config", None)
    count = getattr(config, "num_hidden_layers", None)
    if not isinstance(count, int):
        raise ModelError(
            f"{type(model).__name__} has no layers to choose from: it is no transformers model with a stack of them"
        )
    return count


def attention_projections(model: nn.Module, layer: str) -> list[str]:
    """Return the names of the modules that make queries, keys and values in the layer called `layer`.

    Raises:
        ModelError: they cannot be told by their names.
    """
    inside = [name for name, _ in model.named_modules() if name.startswith(f"{layer}.")]
    for names in _PROJECTIONS:
        found = [next((name for name in inside if name.endswith(f".{part}")), None) for part in names]
        if all(found):
            return [name for name in found if name is not None]
    raise ModelError(f"{type(model).__name__}: no query, key and value layers are found in {layer}; choose another objective")


def hidden_width(model: nn.Module) -> int | None:
    """Return the width of a transformers model's hidden states, or None if it does not say."""
    width = getattr(getattr(model, "config", None), "hidden_size", None)
    return width if isinstance(width, int) else None


def attention_heads(model: nn.Module) -> int | None:
    """Return the number of attention heads of a transformers model, or None if it does not say."""
    heads = getattr(getattr(model, "config", None), "num_attention_heads", None)
    return heads if isinstance(heads, int) else None
