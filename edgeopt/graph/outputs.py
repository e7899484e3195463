"""Inner tensors as outputs of a model, so that one can look at them.

Before: x → A → t → B → y          outputs: y
After:  x → A → t → B → y          outputs: y, t
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
from numpy.typing import ArrayLike

from edgeopt.batches import Array, Batch
from edgeopt.errors import DataError
from edgeopt.graph.editing import copied, remove_unused
from edgeopt.graph.files import load
from edgeopt.graph.matching import by_name
from edgeopt.graph.session import SessionConfig, large_config, open_model, open_session


def expose(model: ir.Model, tensors: Iterable[str]) -> ir.Model:
    """Return a model, with the same weights, whose outputs are those of `model` and then the `tensors` that were none yet."""
    exposed = copied(model)
    _append_outputs(exposed, tensors)
    return exposed


def _append_outputs(model: ir.Model, tensors: Iterable[str]) -> None:
    values, known = by_name(model.graph), {value.name for value in model.graph.outputs}
    model.graph.outputs.extend(values[name] for name in dict.fromkeys(tensors) if name not in known)


def cut(model: ir.Model, tensor: str) -> ir.Model:
    """Return the part of `model`, with the same inputs and weights, that computes `tensor`, its only output."""
    part = copied(model)
    graph = part.graph
    wanted = by_name(graph)[tensor]
    graph.outputs.clear()
    graph.outputs.append(wanted)
    remove_unused(part)
    return part


def run(session: ort.InferenceSession, tensors: Sequence[str], batch: Batch, *, sample: int) -> dict[str, Array]:
    """Return the values of `tensors` on a batch whose first sample is number `sample`.

    Raises:
        DataError: the model cannot run on this batch.
    """
    if not tensors:
        return {}
    try:
        values = session.run(list(tensors), dict(batch))
    except Exception as error:  # (its exception classes share no base but Exception)
        raise run_error(error, sample) from error
    return dict(zip(tensors, values, strict=True))


class KeptInputs:
    """A session with many small inputs, such as switches, that keep their memory: it is bound once, and written over.

    `session.run` makes a tensor of each input and looks each name up among all others, on every run.
    """

    def __init__(self, session: ort.InferenceSession, tensors: Sequence[str], kept: Mapping[str, Array]) -> None:
        """Take the inputs that are `kept`, with their first values."""
        self._session, self._tensors = session, list(tensors)
        self._kept = {name: np.array(values) for name, values in kept.items()}
        self._binding = session.io_binding()
        for name, values in self._kept.items():
            self._binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(values))

    def run(self, batch: Batch, kept: Mapping[str, ArrayLike], *, sample: int) -> dict[str, Array]:
        """Return the values of the tensors on a batch whose first sample is number `sample`, after writing over inputs kept.

        Raises:
            DataError: the model cannot run on this batch.
        """
        if not self._tensors:
            return {}
        for name, values in kept.items():
            self._kept[name][...] = values
        self._binding.clear_binding_outputs()
        try:
            for name, array in batch.items():
                self._binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array)))
            for name in self._tensors:
                self._binding.bind_output(name)
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # (its exception classes share no base but Exception)
            raise run_error(error, sample) from error
        return dict(zip(self._tensors, self._binding.copy_outputs_to_cpu(), strict=True))


def run_error(error: Exception, sample: int) -> DataError:
    """Return what to raise when onnxruntime cannot run a batch whose first sample is number `sample`."""
    return DataError(f"calibration sample {sample}: the model cannot run on it: {reason(error)}")


def reason(error: Exception) -> str:
    """Return on one line what onnxruntime says of a run that failed."""
    return " ".join(str(error).split("\n")).split("] : ", maxsplit=1)[-1][:300]


def open_exposed(
    model: ir.Model,
    tensors: Iterable[str] = (),
    *,
    threads: int,
    optimize: bool = True,
    arena: bool = True,
) -> ort.InferenceSession:
    """Open a session on a model in memory with `tensors` as further outputs, without a copy of the model.

    A model beyond protobuf's 2 GiB takes the way over a temporary folder (see `open_model`).
    """
    config = SessionConfig(threads=threads, optimization="all" if optimize else "none", arena=arena)
    count = len(model.graph.outputs)
    try:
        _append_outputs(model, tensors)
        return open_model(model, config=config)
    finally:
        while len(model.graph.outputs) > count:
            model.graph.outputs.pop()


_ON_THE_EDGE = 1e-3
"""Share of integers that may differ: classes of places whose two largest logits are equal but for float32's rounding."""


def same_outputs(model: ir.Model | Path, other: ir.Model, batch: Batch) -> bool:
    """Return whether two models (the first perhaps a file) give the same on a batch, up to the rounding of float32."""
    graph = (load(model) if isinstance(model, Path) else model).graph
    names = [value.name or "" for value in graph.outputs if not value.is_graph_input() and not value.is_initializer()]
    before = run(_open(model, like=other), names, batch, sample=0)
    after = run(_open(other, like=other), names, batch, sample=0)
    return all(_close(before[name], after[name]) for name in names)


def _open(model: ir.Model | Path, *, like: ir.Model) -> ort.InferenceSession:
    if isinstance(model, Path):
        return open_session(model, config=large_config(like, SessionConfig(threads=1)))
    return open_exposed(model, threads=1)


def _close(a: object, b: object) -> bool:
    """Return whether two outputs are close: arrays, or sequences of them."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_close(left, right) for left, right in zip(a, b, strict=True))
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return a is b  # an optional output that is left out
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if not np.issubdtype(a.dtype, np.floating):
        return not a.size or float((a != b).mean()) <= _ON_THE_EDGE
    scale = float(np.abs(a[np.isfinite(a)]).max(initial=0.0))
    return bool(np.allclose(a, b, rtol=1e-3, atol=1e-4 * scale, equal_nan=True))
