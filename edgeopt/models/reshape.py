"""Give a transformers model another shape: fewer layers, narrower ones, and plain modules where nothing is left.

    Shape(layers={"bert.encoder.layer": (0, 2, 5)},                       which layers of a stack are left
          kept={"bert.encoder.layer.1.output.dense": {"in": (0, 3, …)}},  which channels; names are those after `layers`
          empty={"bert.encoder.layer.2.attention.self": Empty(outputs=2)},
          sizes={"transformer.h.0.attn": {"split_size": 32}})             numbers that a module keeps beside its weights

A shape is a value: it is written into a model.json, and its reader gets the same module without any guess at the model's
anatomy. What is left uniform fits into the model's own configuration; `fitting_config` finds that one.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from edgeopt.errors import ModelError
from edgeopt.models.kept import Kept, compose, is_conv1d, narrow

SIZES = frozenset(
    {
        "split_size", "embed_dim", "num_heads", "n_heads", "num_attention_heads", "all_head_size", "inner_dim",
        "layer_idx", "num_key_value_groups",
    }
)  # fmt: skip
"""The numbers of a module that a shape may set."""


@dataclass(frozen=True)
class Empty:
    """What stands for a module of which nothing is left.

    Attributes:
        outputs: 0: a tensor, n: a tuple of a tensor and n - 1 times None.
        whole: the module ends in the output projection, whose bias is what is left; otherwise a projection follows.
        width: channels of the tensor that a projection would read; only its shape matters.
    """

    outputs: int = 0
    whole: bool = False
    width: int = 1


@dataclass(frozen=True)
class Shape:
    """How a model differs from the one that its configuration describes; see the docstring of this module."""

    layers: Mapping[str, Sequence[int]] = field(default_factory=dict)
    kept: Kept = field(default_factory=dict)
    empty: Mapping[str, Empty] = field(default_factory=dict)
    sizes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    cache_heads: Sequence[int] = ()
    """Key-value heads of each layer that has a cache, where layers differ."""


class Nothing(nn.Module):
    """Stands for a projection without outputs, or for an attention without heads: zeros without a consumer."""

    def __init__(self, kind: Empty) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, *values: Any, **named: Any) -> Any:
        """Return zeros of `width` channels, [..., width], in the form of what was there."""
        hidden = _hidden(values, named)
        value = hidden.new_zeros((*hidden.shape[:-1], self.kind.width))
        return (value, *[None] * (self.kind.outputs - 1)) if self.kind.outputs else value


class Constant(nn.Module):
    """Stands for an output projection that has no input: its bias, or zeros."""

    def __init__(self, bias: Tensor | None, width: int, *, outputs: int = 0) -> None:
        super().__init__()
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=bias.requires_grad)
        self.weight = None  # (T5 asks for the type of its weight)
        self.width, self.outputs = width, outputs

    def forward(self, *values: Any, **named: Any) -> Any:
        """Return the bias for every row of the hidden states, [..., width]."""
        hidden = _hidden(values, named)
        shape = (*hidden.shape[:-1], self.width)
        value = hidden.new_zeros(shape) if self.bias is None else self.bias.expand(shape).clone()
        return (value, *[None] * (self.outputs - 1)) if self.outputs else value


def _hidden(values: Sequence[Any], named: Mapping[str, Any]) -> Tensor:
    """Return the hidden states among a module's arguments: the first one, or the one of that name."""
    hidden: Tensor = values[0] if values else named["hidden_states"]
    return hidden


def reshape(model: nn.Module, shape: Shape) -> None:
    """Change `model`, in place, into what `shape` says; weights that were shared stay shared.

    Raises:
        ModelError: a layer, channel or number of it does not exist.
    """
    keep_layers(model, shape.layers)
    shared = shared_parameters(model)
    narrow(model, {name: sides for name, sides in shape.kept.items() if name not in shape.empty})
    share_again(model, shared)
    modules = dict(model.named_modules())
    for name, kind in shape.empty.items():
        _check_known(name, modules)
        _replace(model, name, _stand_in(modules[name], kind))
    for name, values in shape.sizes.items():
        _check_known(name, modules)
        for attribute, value in values.items():
            if attribute not in SIZES or type(value) is not int:
                raise ModelError(f"the number '{attribute}' of '{name}' cannot be set; known: {', '.join(sorted(SIZES))}")
            setattr(modules[name], attribute, value)
    config = getattr(model, "config", None)
    if config is not None and shape.cache_heads:
        config.cache_heads = list(shape.cache_heads)


def _check_known(name: str, modules: Mapping[str, nn.Module]) -> None:
    if name not in modules or not name:
        raise ModelError(f"the model has no layer '{name}'")


def _stand_in(module: nn.Module, kind: Empty) -> nn.Module:
    if not kind.whole:
        return Nothing(kind)
    products = [layer for layer in module.modules() if _is_product(layer)]
    if not products:
        raise ModelError(f"the {type(module).__name__} to leave out ends in no output projection")
    bias: Any = products[-1].bias
    return Constant(bias, _outputs(products[-1]), outputs=kind.outputs)


def _is_product(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or is_conv1d(layer)


def _outputs(layer: nn.Module) -> int:
    weight: Any = layer.weight
    return int(weight.shape[1 if is_conv1d(layer) else 0])


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    owner, _, own_name = name.rpartition(".")
    setattr(model.get_submodule(owner), own_name, module)


def keep_layers(model: nn.Module, layers: Mapping[str, Sequence[int]]) -> None:
    """Leave of the stacks of layers only those at the given places, in that order, and number them again.

    Raises:
        ModelError: there is no such stack or layer, or none would be left.
    """
    modules = dict(model.named_modules())
    for name, chosen in layers.items():
        stack = modules.get(name)
        if not isinstance(stack, nn.ModuleList):
            raise ModelError(f"the model has no stack of layers '{name}'")
        if not chosen or not all(0 <= place < len(stack) for place in chosen):
            raise ModelError(f"layers {list(chosen)} of '{name}': must be at least one of 0 to {len(stack) - 1}")
        left = [stack[place] for place in chosen]
        for place, layer in enumerate(left):
            for part in layer.modules():
                if isinstance(getattr(part, "layer_idx", None), int):
                    part.layer_idx = place  # type: ignore[assignment]
        _replace(model, name, nn.ModuleList(left))
    config = getattr(model, "config", None)
    if config is not None:
        for name, chosen in layers.items():
            _count(config, name, chosen)


def _count(config: Any, stack: str, chosen: Sequence[int]) -> None:
    """Write into `config` how many layers `stack` has, and of which kind each is."""
    name = layer_count_name(config, stack)
    if name is None:
        return
    setattr(config, name, len(chosen))
    heads = getattr(config, "cache_heads", None)
    if heads and max(chosen) < len(heads):
        config.cache_heads = [heads[place] for place in chosen]
    kinds = getattr(config, "layer_types", None)
    if isinstance(kinds, list) and kinds and max(chosen) < len(kinds):
        config.layer_types = [kinds[place] for place in chosen]


def layer_count_name(config: Any, stack: str) -> str | None:
    """Return what the configuration calls the number of layers of `stack`."""
    both = getattr(config, "is_encoder_decoder", False)
    decoder = both and "decoder" in stack
    names = ("decoder_layers", "num_decoder_layers") if decoder else ("encoder_layers", "num_layers") if both else ()
    return next((name for name in (*names, "num_hidden_layers") if isinstance(getattr(config, name, None), int)), None)


def shared_parameters(model: nn.Module) -> list[list[str]]:
    """Return the names of parameters that are one and the same, by group."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [group for group in names.values() if len(group) > 1]


def share_again(model: nn.Module, shared: Sequence[Sequence[str]]) -> None:
    """Let the parameters of each group of names be one again: the first."""
    for first, *others in shared:
        parameter = model.get_parameter(first)
        for name in others:
            owner, _, own_name = name.rpartition(".")
            if model.get_parameter(name).shape == parameter.shape:
                setattr(model.get_submodule(owner), own_name, parameter)


def followed(first: Shape, then: Shape) -> Shape:
    """Return the shape of a model that was given the shape `first` and then, by its names then, `then`."""
    new = {f"{stack}.{old}": f"{stack}.{place}" for stack, chosen in then.layers.items() for place, old in enumerate(chosen)}
    gone = tuple(
        f"{stack}.{old}."
        for stack, chosen in then.layers.items()
        for old in range(max([*chosen, *_numbers(first, stack)]) + 1)
        if old not in chosen
    )

    def renamed(name: str) -> str | None:
        if f"{name}.".startswith(gone):
            return None
        old = next((old for old in new if f"{name}.".startswith(f"{old}.")), None)
        return name if old is None else new[old] + name[len(old) :]

    def moved(values: Mapping[str, Any]) -> dict[str, Any]:
        return {place: value for name, value in values.items() if (place := renamed(name)) is not None}

    layers = dict(first.layers)
    for stack, chosen in then.layers.items():
        before = layers.get(stack)
        layers[stack] = list(chosen) if before is None else [before[place] for place in chosen]
    return replace(
        then,
        layers=layers,
        kept=compose(moved(first.kept), then.kept),
        empty={**moved(first.empty), **then.empty},
        sizes={**moved(first.sizes), **then.sizes},
        cache_heads=then.cache_heads or _left(first.cache_heads, list(then.layers.values())),
    )


def _left(heads: Sequence[int], layers: Sequence[Sequence[int]]) -> Sequence[int]:
    """Return the cache heads of the layers that are left of a decoder's one stack."""
    return [heads[place] for place in layers[0]] if heads and len(layers) == 1 else heads


def _numbers(shape: Shape, stack: str) -> list[int]:
    """Return the numbers of the layers of `stack` that `shape` speaks of."""
    names = [*shape.kept, *shape.empty, *shape.sizes]
    inner = [name[len(stack) + 1 :].split(".")[0] for name in names if name.startswith(f"{stack}.")]
    return [int(number) for number in inner if number.isdigit()]


def fitting_config(model: nn.Module, config: Any, changes: Sequence[Mapping[str, int]]) -> Any | None:
    """Return `config` with the first of `changes` whose model has exactly the weights of `model`; or None."""
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    for change in changes:
        tried = copy.deepcopy(config)
        try:
            for name, value in change.items():
                setattr(tried, name, value)
            with torch.device("meta"):
                other = type(model)(tried)
        except (ValueError, TypeError, RuntimeError, ZeroDivisionError, AttributeError):
            continue
        if {name: tensor.shape for name, tensor in other.state_dict().items()} == shapes:
            return tried
    return None
