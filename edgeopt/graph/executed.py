"""A node of a graph as onnxruntime ran it, from its profile."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Executed:
    """A node that onnxruntime ran, perhaps fused or renamed: types and shapes of its tensors, and the bytes of all of them."""

    name: str
    op: str
    inputs: list[tuple[str, list[int]]]
    outputs: list[tuple[str, list[int]]]
    bytes: int
