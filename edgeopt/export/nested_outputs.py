"""Nested outputs and inputs as flat tensors, named by their path.

ONNX graphs have only tensors. The result of a forward() is flattened; each tensor is named after its path, through keys of
dicts, fields of named tuples and dataclasses, and positions of tuples and lists:

    y                                      output
    (y, (h, c))                            output_0, output_1.0, output_1.1
    {"boxes": b, "features": [f, g]}       boxes, features.0, features.1

Inputs are the reverse: samples called ``state.0`` and ``state.1`` become the tuple for the argument ``state``, and
``batch.ids`` the entry ``ids`` of the dict ``batch``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from edgeopt.errors import ModelError

_CONSTANTS = (bool, int, float, str, torch.SymInt, torch.SymFloat, torch.SymBool)


def named_tensors(produced: object) -> dict[str, torch.Tensor]:
    """Return all tensors in the result of a forward(), at any depth, by name: ``output``, ``output_0`` or a path of keys.

    Raises:
        ModelError: it is not a tensor, tuple, list, mapping, named tuple or dataclass.
    """
    found: dict[str, torch.Tensor] = {}
    for path, value in _leaves(produced):
        if isinstance(value, torch.Tensor):
            found[_free(_name(path), found)] = value
    if not found and not isinstance(produced, tuple | list) and _children(produced) is None:
        raise ModelError(
            f"forward() returns {type(produced).__name__}; a tensor, or a tuple, dict or dataclass of them, can be exported"
        )
    if len(found) == 1 and next(iter(found)).startswith("output_") and isinstance(produced, tuple | list):
        return {"output": next(iter(found.values()))}
    return found


def left_out(produced: object) -> list[str]:
    """Return descriptions of the other values in the result, which cannot become outputs; None is skipped."""
    return [
        f"'{_name(path)}' ({f'the Python value {value}' if isinstance(value, _CONSTANTS) else type(value).__name__})"
        for path, value in _leaves(produced)
        if value is not None and not isinstance(value, torch.Tensor)
    ]


def arguments(values: Mapping[str, torch.Tensor], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments for `values`; a dot in a name that is not a parameter means a part of one.

    Args:
        values: tensors by input name.
        parameters: those of the forward(), by name.
    """
    trees: dict[str, Any] = {}
    for name, value in values.items():
        steps = name.split(".") if name not in parameters and name.split(".")[0] in parameters else [name]
        place = trees
        for step in steps[:-1]:
            place = place.setdefault(step, {})
        place[steps[-1]] = value
    return {name: _collected(tree) for name, tree in trees.items()}


def _collected(tree: Any) -> Any:
    """Return dicts whose keys are 0, 1, 2 … as tuples, at every depth."""
    if not isinstance(tree, dict):
        return tree
    parts = {key: _collected(part) for key, part in tree.items()}
    positions = [str(position) for position in range(len(parts))]
    return tuple(parts[key] for key in positions) if sorted(parts) == sorted(positions) else parts


def _leaves(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    children = _children(value)
    if children is None:
        yield path, value
        return
    for key, child in children.items():
        step = f"output_{key}" if not path and isinstance(value, tuple | list) and not hasattr(value, "_fields") else key
        yield from _leaves(child, (*path, step))


def _children(value: object) -> dict[str, object] | None:
    """Return the parts of a container by key, field or position; None for anything else."""
    if isinstance(value, Mapping):  # transformers' ModelOutput is one
        return {str(key): child for key, child in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=True))
    if isinstance(value, tuple | list):
        return {str(index): child for index, child in enumerate(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _name(path: tuple[str, ...]) -> str:
    return ".".join(path) or "output"


def _free(name: str, taken: Mapping[str, object]) -> str:
    while name in taken:
        name += "_"
    return name
