"""Load an untrusted torch.export program (``.pt2``) without running code from it, and call it by input names.

torch reads a fresh archive, into which `program_archive` copied what it checked.
The axes of the exported model are those of the program: symbolic axes stay dynamic, equal symbols share a name.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import torch

from edgeopt.batches import Array, Batch
from edgeopt.errors import DataError, ModelError
from edgeopt.lifetime import temporary_folder
from edgeopt.models.no_pickles import no_pickles
from edgeopt.models.program_archive import copy_checked, first_line
from edgeopt.models.size_expressions import parsed_sizes

Axes = dict[str, dict[int, str]]
_MOST_TIMES_LARGER, _MOST_ELEMENTS = 16, 2**24
"""An example may be stretched to this many times its size, and some more."""


class LoadedProgram(torch.nn.Module):
    """A program called by names; always in the mode it was exported in."""

    def __init__(self, program: torch.export.ExportedProgram, names: list[str]) -> None:
        super().__init__()
        self.program = program.module(check_guards=False)
        self._positional = len(program.call_spec.in_spec.children()[0].children())
        self._names = names
        self._batches = _batches(program, names)
        self._axes = _axes(program, names)

    def train(self, mode: bool = True) -> LoadedProgram:  # noqa: ARG002
        """Return self: an exported program has no other mode."""
        return self

    def forward(self, **inputs: torch.Tensor) -> Any:
        """Return the program's outputs."""
        missing = [name for name in self._names if name not in inputs]
        if missing:
            raise DataError(f"the program's input '{missing[0]}' is not given; its inputs: {', '.join(self._names)}")
        given = [inputs[name] for name in self._names]
        named = dict(zip(self._names[self._positional :], given[self._positional :], strict=True))
        return self.program(*given[: self._positional], **named)

    def dynamic_axes(self) -> Axes:
        """Return the names of the program's symbolic axes, by input and axis."""
        return self._axes

    def example_inputs(self) -> list[Batch]:
        """Return the example inputs of the program, also stretched and cut along its dynamic axes."""
        return self._batches


def load_program(path: Path) -> LoadedProgram:
    """Return the program in the ``.pt2`` archive at `path`.

    Raises:
        ModelError: it is not such an archive, it contains what could run code, or an input is not a tensor.
    """
    with temporary_folder("edgeopt-program-") as folder:
        fresh = Path(folder) / "model.pt2"
        copy_checked(path, fresh)
        try:
            with no_pickles(), parsed_sizes(), _quiet():
                program = torch.export.load(fresh)
        except Exception as error:  # torch's loader raises whatever its parts do
            said = first_line(error).partition(" Please check the warnings above")[0]
            raise ModelError(f"{path}: torch cannot load it: {said}; export it again with this torch") from error
    tree = program.call_spec.in_spec
    flat = tree is not None and all(child.is_leaf() for group in tree.children() for child in group.children())
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    names = [str(name) for name in program.graph_signature.user_inputs]
    if not flat or not all(isinstance(values.get(name), torch.Tensor) for name in names):
        raise ModelError(f"{path}: its inputs are not plain tensors; export the program with one tensor per argument")
    try:
        return LoadedProgram(program, names)
    except Exception as error:  # (example inputs of any form, and ranges of sizes that they are not in)
        raise ModelError(f"{path}: its example inputs do not fit it: {first_line(error)}; export it again") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's log of an archive that it cannot load from the terminal: what it raises says the same."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _axes(program: torch.export.ExportedProgram, names: list[str]) -> Axes:
    """Name the symbolic axes: ``batch`` for the symbol of a first axis, others after the first input that has them."""
    values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    called: dict[str, str] = {}
    axes: Axes = {name: {} for name in names}
    for name in names:
        for axis, size in enumerate(values[name].shape):
            if isinstance(size, torch.SymInt):
                symbol = str(size.node.expr)
                free = axis == 0 and "batch" not in called.values()
                axes[name][axis] = called.setdefault(symbol, "batch" if free else f"{name}_axis{axis}")
    return axes


def _batches(program: torch.export.ExportedProgram, names: list[str]) -> list[Batch]:
    """Return the program's example inputs and three variants with other sizes of its symbols; [] if it keeps no examples."""
    if not program.example_inputs:
        return []
    positional, keyword = program.example_inputs
    arrays = [_array(value) for value in (*positional, *keyword.values())]
    values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    symbols: dict[Any, int] = {}
    for name, array in zip(names, arrays, strict=True):
        for size, found in zip(values[name].shape, array.shape, strict=True):
            if isinstance(size, torch.SymInt) and size.node.expr.is_Symbol:
                symbols[size.node.expr] = int(found)
    batches: list[Batch] = []
    for step in (0, 1, -1, 3):
        sizes = {
            symbol: _inside(program, symbol, size + step * (1 + index)) for index, (symbol, size) in enumerate(symbols.items())
        }
        shapes = [[_size(size, sizes) for size in values[name].shape] for name in names]
        batch: Batch = {name: _stretched(array, shape) for name, array, shape in zip(names, arrays, shapes, strict=True)}
        batches.append(batch)
    return batches if symbols else batches[:1]


def _array(tensor: torch.Tensor) -> Array:
    """Return a tensor's values; torch does not know numpy's bfloat16, but it knows those bits."""
    narrow = tensor.dtype == torch.bfloat16
    return tensor.detach().view(torch.int16).numpy().view(ml_dtypes.bfloat16) if narrow else tensor.detach().numpy()


def _inside(program: torch.export.ExportedProgram, symbol: Any, size: int) -> int:
    allowed = program.range_constraints.get(symbol)
    low = max(1, int(allowed.lower)) if allowed is not None and allowed.lower.is_Integer else 1
    high = int(allowed.upper) if allowed is not None and allowed.upper.is_Integer else size
    return max(low, min(size, high))


def _size(size: Any, sizes: Mapping[Any, int]) -> int:
    return int(size.node.expr.subs(sizes)) if isinstance(size, torch.SymInt) else int(size)


def _stretched(array: Array, shape: list[int]) -> Array:
    """Return `array` with `shape`: its values again from the start where an axis is longer, so that token ids stay valid.

    Raises:
        ValueError: it has another number of axes, no values, or would take far more memory.
    """
    if array.ndim != len(shape) or not array.size or prod(shape) > _MOST_TIMES_LARGER * array.size + _MOST_ELEMENTS:
        raise ValueError(f"an example of shape {list(array.shape)} cannot become one of {shape}")
    for axis, size in enumerate(shape):
        array = np.take(array, np.arange(size), axis=axis, mode="wrap")
    return array
