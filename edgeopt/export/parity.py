"""Comparison of the ONNX file with the PyTorch model.

Both run on the same batches: at batch 1 and several, at the shortest and the longest sample; onnxruntime once with its graph
optimisations off and once with all of them on. The error of an output is relative to that output's magnitude,

    relative error = max |torch − onnx| / max |torch|,

because an absolute bound means something else for a logit of 30 than for a probability. Integer and boolean outputs must be
equal. On failure every intermediate tensor that kept torch's name is compared in the order of the graph, and the first one that
diverges is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
import torch

from edgeopt import progress
from edgeopt.batches import Array, Batch, concatenate
from edgeopt.errors import ModelError
from edgeopt.export.axes import Axes, summed
from edgeopt.export.precision import LARGEST, SMALLEST, float_type, wider
from edgeopt.export.program import Program, tensors, to_array
from edgeopt.export.result import Parity
from edgeopt.export.weights import out_of_memory
from edgeopt.export.widen import feed, holds_bfloat16, widened
from edgeopt.graph.batch_axes import batch_axes
from edgeopt.graph.files import write_temporary
from edgeopt.graph.session import SessionConfig, open_session
from edgeopt.graph.signature import Signature, TensorSpec
from edgeopt.lifetime import temporary_folder

_ON_THE_EDGE = 1e-4
"""Share of integers that may differ: classes of places whose two largest logits are equal but for float32's rounding."""
_LEVELS: tuple[Literal["none", "all"], ...] = ("none", "all")


@dataclass(frozen=True)
class Difference:
    """Error of one output: absolute, and as a share of the output's largest magnitude."""

    absolute: float
    relative: float


def compare(expected: Array, actual: Array) -> Difference:
    """Return the error of `actual` relative to `expected`; infinite if shapes differ or only one of them is not finite."""
    if expected.shape != actual.shape:
        return Difference(float("inf"), float("inf"))
    if expected.dtype.kind in "bui" or actual.dtype.kind in "bui":
        share = float((expected != actual).mean()) if expected.size else 0.0
        return Difference(float(share > 0), share if share <= _ON_THE_EDGE else 1.0)
    if expected.size == 0:
        return Difference(0.0, 0.0)
    wide, other = expected.astype(np.float64), actual.astype(np.float64)
    finite = np.isfinite(wide)
    if not np.array_equal(wide[~finite], other[~finite], equal_nan=True) or not np.isfinite(other[finite]).all():
        return Difference(float("inf"), float("inf"))
    absolute = float(np.abs(wide[finite] - other[finite]).max(initial=0.0))
    scale = float(np.abs(wide[finite]).max(initial=0.0))
    return Difference(absolute, absolute / scale if scale else absolute)


def parity_batches(samples: Sequence[Batch], axes: Axes, *, limit: int) -> list[Batch]:
    """Return batches of real samples of different shapes: one row alone, then three and more, ragged ones padded.

    Args:
        samples: batches of any size.
        axes: the dynamic axes; batches are kept as they are where one is a sum of others, or where the first axis of an input
            is fixed or counts something else than samples (`edgeopt.graph.batch_axes`).
        limit: number of samples to use.
    """
    chosen = list(samples)[:limit]
    derived = any(summed(name) for dynamic in axes.values() for name in dynamic.values())
    if (
        derived
        or len({axes[name].get(0) for name in chosen[0]} - {None}) != 1
        or not all(0 in axes[name] for name in chosen[0])
        or set(batch_axes(_signature(chosen[0], axes)).values()) != {0}
    ):
        return chosen
    rows = [{name: array[[row]] for name, array in batch.items()} for batch in chosen for row in range(_rows(batch))][:limit]
    rows.sort(key=lambda row: sum(array.size for array in row.values()))
    several = (rows * 3)[: max(3, len(rows))]
    return [rows[0], rows[-1], _join(several[:3]), _join(several)]


def _signature(batch: Batch, axes: Axes) -> Signature:
    """Return what the exported model will take."""
    shapes = {name: (axes[name].get(place, size) for place, size in enumerate(array.shape)) for name, array in batch.items()}
    return Signature(tuple(TensorSpec(name, batch[name].dtype.name, tuple(shape)) for name, shape in shapes.items()), ())


def _rows(batch: Batch) -> int:
    return min((len(array) for array in batch.values() if array.ndim), default=1)


def _join(rows: Sequence[Batch]) -> Batch:
    return {name: concatenate([row[name][0] for row in rows]) for name in rows[0]}


def check_parity(program: Program, written: Sequence[Path], batches: Sequence[Batch], *, tolerance: float) -> Parity:
    """Run `program` in PyTorch and the model in onnxruntime on `batches` and measure the largest error.

    PyTorch runs first. With external weights, PyTorch's then leave memory until onnxruntime is done.

    Args:
        program: in evaluation mode.
        written: the model's files, the graph first.
        batches: inputs by the graph's input names.
        tolerance: largest relative error to pass.

    Raises:
        ModelError: an output of PyTorch's half-precision model is not finite.
    """
    expected = [program.run(batch) for batch in batches]
    _check_range(program, batches, expected)
    without = sorted({name for outputs in expected for name, array in outputs.items() if _holds_nan(array)})
    said = "holds NaN on the samples, of which equality says little"
    program.remarks += tuple(f"PyTorch's own output '{name}' {said}" for name in without)
    worst = Difference(0.0, 0.0)
    large = len(written) > 1
    with out_of_memory(program, written[0].parent) if large else nullcontext():
        for level in _LEVELS:
            with progress.task(f"compare with PyTorch, optimisation {level}", total=len(batches)) as advance:
                config = SessionConfig(optimization=level, prepacking=not large or level == "all")
                for found in _differences(open_session(written[0], config=config), batches, expected):
                    worst = Difference(max(worst.absolute, found.absolute), max(worst.relative, found.relative))
                    advance()
    shapes = sorted({_describe(batch) for batch in batches})
    samples = sum(_rows(batch) for batch in batches)
    passed = worst.relative <= tolerance
    return Parity(worst.absolute, worst.relative, tolerance, samples, tuple(shapes), passed)


def _holds_nan(array: Array) -> bool:
    return array.dtype.kind == "f" and bool(np.isnan(array).any())


def _check_range(program: Program, batches: Sequence[Batch], expected: Sequence[Mapping[str, Array]]) -> None:
    """Refuse a half-precision model that leaves its range: equal infinities on both sides would pass for equal outputs."""
    dtype = float_type(program.module)
    if dtype not in {"float16", "bfloat16"}:
        return
    for batch, outputs in zip(batches, expected, strict=True):
        for name, array in outputs.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                where = _first_module(program, batch)
                raise ModelError(
                    f"the output '{name}' of {type(program.module).__name__} is not finite in {dtype}, whose largest number is "
                    f"{LARGEST[dtype]:.5g}; export as {wider(dtype)} (first in {where}; {SMALLEST[dtype]:.0g} and less is 0)"
                )


def _first_module(program: Program, batch: Batch) -> str:
    """Return the name of the first part of the module that gives numbers which are not finite, for people."""
    found: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def hook(_: object, __: object, produced: object) -> None:
            given = [
                value for value in (produced if isinstance(produced, tuple | list) else [produced]) if torch.is_tensor(value)
            ]
            if any(value.is_floating_point() and not bool(value.isfinite().all()) for value in given):
                found.append(name)

        return hook

    parts = {name: part for name, part in program.module.named_modules() if name and not list(part.children())}
    hooks = [part.register_forward_hook(look(name)) for name, part in parts.items()]
    try:
        program.run(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return f"'{found[0]}'" if found else "the model's own code"


def _differences(session: Any, batches: Sequence[Batch], expected: Sequence[Mapping[str, Array]]) -> Iterator[Difference]:
    """Yield the larger errors of each batch's outputs."""
    names = [value.name for value in session.get_outputs()]
    for batch, wanted in zip(batches, expected, strict=True):
        produced = _run(session, names, feed(session, batch))
        found = [compare(wanted[name], array) for name, array in zip(names, produced, strict=True)]
        yield Difference(max(each.absolute for each in found), max(each.relative for each in found))


def _run(session: Any, names: list[str], batch: Batch) -> list[Array]:
    try:
        return list(session.run(names, dict(batch)))
    except Exception as error:  # onnxruntime's exception classes share no base but Exception
        reason = str(error).strip().split("\n", maxsplit=1)[0][-300:]
        raise ModelError(f"the exported model does not run on {_describe(batch)}: {reason}") from error


def _describe(batch: Batch) -> str:
    return ", ".join(f"{name} {'×'.join(map(str, array.shape))}" for name, array in batch.items())


def first_divergence(
    program: Program, model: ir.Model, exported: torch.export.ExportedProgram, batches: Sequence[Batch], *, tolerance: float
) -> str:
    """Return the name and error of the first tensor, in the order of the graph, whose error exceeds `tolerance`.

    Args:
        program: the PyTorch model.
        model: the ONNX graph whose value names are still torch's.
        exported: the torch program the graph was made from.
        batches: inputs by the graph's input names; the first of them on which a tensor diverges counts.
        tolerance: largest relative error of a tensor that counts as equal.
    """
    names = [value.name or "" for value in model.graph.inputs]
    for batch in batches:
        recorder = _Recorder(exported)
        with torch.no_grad():
            produced = recorder.run(*tensors(batch, names))
        outputs = {value.name or "": to_array(tensor) for value, tensor in zip(model.graph.outputs, produced, strict=True)}
        recorder.values |= outputs
        for name, actual in _intermediates(model, batch, wanted=recorder.values):
            difference = compare(recorder.values[name], actual)
            if difference.relative > tolerance:
                return f"'{name}' (relative error {difference.relative:.2g}, shape {list(actual.shape)})"
        for name, wanted in program.run(batch).items():
            if compare(wanted, outputs[name]).relative > tolerance:
                return f"output '{name}' of torch's own trace, before ONNX: the model's code does not always take the same path"
    return "none of the intermediate tensors: the graph passes or onnxruntime's optimisation after them"


class _Recorder(torch.fx.Interpreter):
    """Runs an exported program and keeps every tensor by name."""

    def __init__(self, exported: torch.export.ExportedProgram) -> None:
        super().__init__(exported.module())
        self.values: dict[str, Array] = {}

    def run_node(self, n: torch.fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, torch.Tensor) and n.op == "call_function":
            self.values[n.name] = to_array(result)
        return result


def _intermediates(model: ir.Model, batch: Batch, wanted: Mapping[str, Array]) -> list[tuple[str, Array]]:
    """Run the graph with the tensors named in `wanted` as outputs, in the order of the graph."""
    shown = widened(model) if holds_bfloat16(model) else model.clone()
    values = [value for node in shown.graph for value in node.outputs if value.name in wanted and value.dtype is not None]
    known = set(shown.graph.outputs)
    shown.graph.outputs.extend(value for value in values if value not in known)
    with temporary_folder() as folder:  # not in memory: the weights may be beyond protobuf's 2 GiB
        path, _ = write_temporary(shown, Path(folder) / "model.onnx")
        session = open_session(path, config=SessionConfig(optimization="none", prepacking=False))
    names = [value.name or "" for value in values]
    return list(zip(names, session.run(names, feed(session, batch)), strict=True))
