"""Attention heads; with grouped queries (GQA) a unit is a key-value head with all the query heads that share it.

Where a bias of relative positions is computed once for all layers of a stack (T5, MPNet), the same heads must go in all of
them: these attentions are one part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from edgeopt.models.kept import is_conv1d
from edgeopt.models.reshape import SIZES, Empty
from edgeopt.prune.structure.names import (
    HEAD_COUNTS,
    HEAD_SIZES,
    OUTPUT_BESIDE,
    OUTPUTS,
    PACKED,
    POSITION_PROJECTIONS,
    PROJECTIONS,
)
from edgeopt.prune.structure.parts import Cut, Kind, Part, merged

_SHARED_BIAS = "relative_attention_bias"
_TABLE = "relative_position_bias_table"


def heads(model: nn.Module) -> list[Part]:
    """Return the attentions of `model`, in order."""
    modules = dict(model.named_modules())
    found = [part for name, module in modules.items() for part in _attention(name, module, modules, model)]
    return list(_coupled(found, modules))


def _attention(name: str, module: nn.Module, modules: Mapping[str, nn.Module], model: nn.Module) -> Iterator[Part]:
    children = {child for child, layer in module.named_children() if is_linear(layer)}
    output = next((f"{name}.{child}" for child in OUTPUTS if child in children), None)
    whole = output is not None
    if output is None:
        beside = f"{name.rpartition('.')[0]}.{OUTPUT_BESIDE}"
        output = beside if is_linear(modules.get(beside)) else None
    three = next((names for names in PROJECTIONS if set(names) <= children), None)
    packed = next((child for child in PACKED if child in children), None)
    if output is None or (three is None and packed is None):
        return
    first = modules[f"{name}.{three[0] if three else packed}"]
    outputs = linear_sizes(first)[1] // (1 if three else 3)
    size = _head_size(module, outputs, model)
    if size is None or outputs % size or linear_sizes(modules[output])[0] != outputs:
        return
    if three:
        key_outputs = linear_sizes(modules[f"{name}.{three[1]}"])[1]
        units = key_outputs // size
        if not units or outputs % key_outputs:
            return
        writers = [Cut(f"{name}.{child}", "out", linear_sizes(modules[f"{name}.{child}"])[1] // units) for child in three]
        writers += [Cut(f"{name}.{child}", "out", size) for child in POSITION_PROJECTIONS if child in children]
    else:
        units = outputs // size
        writers = [Cut(f"{name}.{packed}", "out", size, (0, outputs, 2 * outputs))]
    writers += _biases(name, model, outputs // size, units)
    reader = Cut(output, "in", outputs // units)
    empty = {name: Empty(2, whole=True)} if whole else {name: Empty(2), output: Empty(whole=True)}
    if whole and any(isinstance(layer, nn.LayerNorm) for layer in module.children()):
        empty = {}  # it does more than attend (ALBERT), so something of it must stay
    yield Part(name, Kind.HEADS, units, tuple(writers), (reader,), empty, {name: _sizes(module, outputs, size, units)})


def _biases(name: str, model: nn.Module, heads: int, units: int) -> list[Cut]:
    """Return the cuts of tables of relative positions [positions, heads] of the attention's own layer (Swin, BEiT)."""
    layer = name.rpartition(".")[0]
    return [
        Cut(parameter, "axis1", heads // units)
        for parameter, value in model.named_parameters()
        if parameter.startswith(f"{layer}.") and parameter.endswith(_TABLE) and value.ndim == 2 and value.shape[1] == heads
    ]


def _head_size(module: nn.Module, outputs: int, model: nn.Module) -> int | None:
    for attribute in HEAD_SIZES:
        if isinstance(value := getattr(module, attribute, None), int) and value > 0:
            return value
    config: Any = getattr(model, "config", None)
    for owner, attribute in ((place, name) for place in (module, config) for name in HEAD_COUNTS):
        if isinstance(count := getattr(owner, attribute, None), int) and count > 0 and outputs % count == 0:
            return outputs // count
    return None


def _sizes(module: nn.Module, outputs: int, size: int, units: int) -> dict[str, int]:
    """Return the numbers of heads and of channels that the module keeps, each divided by the units."""
    return {
        name: value // units
        for name in sorted(SIZES - {"layer_idx", "num_key_value_groups"})
        if isinstance(value := getattr(module, name, None), int) and value in (outputs, outputs // size)
    }


def _coupled(found: list[Part], modules: Mapping[str, nn.Module]) -> Iterator[Part]:
    """Yield the parts, those that share a bias of relative positions as one."""
    groups: dict[tuple[str, str], list[Part]] = {}
    biases: dict[tuple[str, str], list[Cut]] = {}
    for part in found:
        owner = next((name for name in _above(part.name) if f"{name}.{_SHARED_BIAS}" in modules and name != part.name), None)
        if hasattr(modules[part.name], "has_relative_attention_bias"):  # T5: the first layer's bias goes to all others
            key = part.name.split(".")[0], part.name.rpartition(".")[2]
        elif owner is not None:  # MPNet: the encoder has it
            key = owner, ""
        else:
            key = part.name, ""
        groups.setdefault(key, []).append(part)
        for place in {part.name, owner} - {None}:
            layer = modules.get(f"{place}.{_SHARED_BIAS}")
            if isinstance(layer, nn.Embedding) and layer.embedding_dim == part.units:
                biases.setdefault(key, []).append(Cut(f"{place}.{_SHARED_BIAS}", "out", 1))
    for key, parts in groups.items():
        more = tuple(dict.fromkeys(biases.get(key, ())))
        yield merged(parts, more=more) if len(parts) > 1 or more else parts[0]


def _above(name: str) -> Iterator[str]:
    while name:
        name = name.rpartition(".")[0]
        yield name


def is_linear(layer: nn.Module | None) -> bool:
    """Return whether `layer` is a linear layer."""
    return isinstance(layer, nn.Linear) or (layer is not None and is_conv1d(layer))


def linear_sizes(layer: nn.Module) -> tuple[int, int]:
    """Return a linear layer's inputs and outputs."""
    one, other = (int(size) for size in layer.weight.shape)  # type: ignore[union-attr]
    return (one, other) if is_conv1d(layer) else (other, one)
