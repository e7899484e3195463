"""A graph as steps of PyTorch: one per operator, run one after another, over values that are alive."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
from torch import Tensor

from edgeopt.errors import ModelError
from edgeopt.graph.matching import constant

Alive = dict[ir.Value, Tensor]
Compute = Callable[..., Any]


@dataclass(frozen=True)
class Step:
    """One operator: what it computes, and the values it reads and gives."""

    compute: Compute
    node: ir.Node
    done: tuple[ir.Value, ...]
    """Values that nothing reads after this step."""


def steps_of(nodes: Iterable[ir.Node], kept: Iterable[ir.Value], operator: Callable[[ir.Node], Compute]) -> list[Step]:
    """Return a step for each of the nodes, in their order; `kept`: values that stay alive to the end."""
    nodes, stay = list(nodes), set(kept)
    last: dict[ir.Value, ir.Node] = {}
    for node in nodes:
        last.update((value, node) for value in node.inputs if value is not None)
    done: dict[ir.Node, list[ir.Value]] = {}
    for value, node in last.items():
        if value not in stay and constant(value) is None:
            done.setdefault(node, []).append(value)
    for node in nodes:
        done.setdefault(node, []).extend(value for value in node.outputs if value not in last and value not in stay)
    return [Step(operator(node), node, tuple(done.get(node, ()))) for node in nodes]


def computed(step: Step, read: Callable[[ir.Value], Tensor]) -> list[tuple[ir.Value, Tensor]]:
    """Return what one operator gives; `read` returns the values that it takes.

    Raises:
        ModelError: there is no PyTorch form of this operator with these attributes.
    """
    given = [None if value is None else read(value) for value in step.node.inputs]
    try:
        made = step.compute(*given)
    except NotImplementedError as error:
        raise ModelError(f"{step.node.name}: cannot be trained through: {error}; leave --train out") from error
    return list(zip(step.node.outputs, made if isinstance(made, tuple) else (made,), strict=False))


def advance(alive: Mapping[ir.Value, Tensor], steps: Iterable[Step], constants: Callable[[ir.Value], Tensor]) -> Alive:
    """Return the values that are alive after some steps, from those that are alive before them."""
    now = dict(alive)

    def read(value: ir.Value) -> Tensor:
        found = now.get(value)
        return constants(value) if found is None else found

    for step in steps:
        now.update(computed(step, read))
        for value in step.done:
            now.pop(value, None)
    return now
