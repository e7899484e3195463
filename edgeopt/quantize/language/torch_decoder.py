"""A decoder as steps of PyTorch: what the trainings of its weights share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from edgeopt.errors import RecipeError
from edgeopt.graph.generation import Generation
from edgeopt.graph.matching import name_of
from edgeopt.machine import cpu_flags
from edgeopt.quantize.language.layers import Rounded
from edgeopt.quantize.language.text import Tokens, feeds
from edgeopt.quantize.training.checkpoint import State
from edgeopt.quantize.training.operators import tensor_of
from edgeopt.quantize.training.steps import Alive


class Constants(dict[ir.Value, Tensor]):
    """Constants of a graph, read when they are asked for."""

    def __call__(self, value: ir.Value) -> Tensor:
        """Return a constant's values."""
        if value not in self:
            self[value] = tensor_of(value)
        return self[value]


def half_precision() -> torch.autocast:
    """Return a context in which products are bfloat16, where the processor has instructions for them."""
    return torch.autocast("cpu", torch.bfloat16, enabled="avx512_bf16" in cpu_flags())


def inputs_of(model: ir.Model, facts: Generation, windows: Tokens) -> Alive:
    """Return the inputs of a decoder for windows of the same length, [windows, length], and an empty cache."""
    given = feeds(facts, windows)
    return {value: torch.from_numpy(given[name_of(value)]) for value in model.graph.inputs if value.name in given}


def stacked(windows: Sequence[Tokens], size: int) -> list[Tokens]:
    """Return windows, cut to the length of the shortest, in batches of `size`.

    Raises:
        RecipeError: they are one batch or less, of which none could be held aside.
    """
    if len(windows) <= size:
        raise RecipeError(
            f"--train: {len(windows)} windows of text are too few to hold some aside: more than {size} windows are "
            "needed; raise calibration_windows, or give a text as --calibration"
        )
    length = min(map(len, windows))
    return [np.stack([window[:length] for window in windows[start : start + size]]) for start in range(0, len(windows), size)]


def shuffled(count: int) -> Iterator[int]:
    """Return 0 … count - 1 in random order, again and again; the same order in every run."""
    generator = np.random.default_rng(0)
    while True:
        yield from map(int, generator.permutation(count))


def state_of(matrices: Iterable[Rounded]) -> State:
    """Return the blocks of matrices as tensors, by the names of their nodes and of what they are."""
    kinds = ("numbers", "scales", "zeros")
    return {f"{one.layer.name}.{kind}": torch.from_numpy(getattr(one.blocks, kind)) for one in matrices for kind in kinds}
