"""Inner tensors as outputs of a model, so that one can look at them.

Before: x → A → t → B → y          outputs: y
After:  x → A → t → B → y          outputs: y, t
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from edgeopt.data.batches import Array, Batch
from edgeopt.errors import DataError
from edgeopt.graph import onnx_file
from edgeopt.targets.session import SessionConfig, large_config, open_model, open_session


def expose(model: onnx.ModelProto, tensors: Iterable[str]) -> onnx.ModelProto:
    """Return a model whose outputs are those of `model` and then the `tensors` that were not outputs yet."""
    exposed = onnx_file.copy_of(model)
    _append_outputs(exposed, tensors)
    return exposed


def _append_outputs(model: onnx.ModelProto, tensors: Iterable[str]) -> None:
    known = {value.name for value in model.graph.output}
    types = {value.name: value for value in model.graph.value_info}
    for name in tensors:
        if name not in known:
            model.graph.output.append(types.get(name) or onnx.ValueInfoProto(name=name))
            known.add(name)


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


def run_error(error: Exception, sample: int) -> DataError:
    """Return what to raise when onnxruntime cannot run a batch whose first sample is number `sample`."""
    reason = " ".join(str(error).split("\n")).split("] : ", maxsplit=1)[-1][:300]
    return DataError(f"calibration sample {sample}: the model cannot run on it: {reason}")


def open_exposed(
    model: onnx.ModelProto, tensors: Iterable[str] = (), *, threads: int, optimize: bool = True, arena: bool = True
) -> ort.InferenceSession:
    """Open a session on a model in memory with `tensors` as further outputs, without a copy of the model.

    A model beyond protobuf's 2 GiB takes the way over a temporary folder (see `open_model`).
    """
    config = SessionConfig(threads=threads, optimization="all" if optimize else "none", arena=arena)
    count = len(model.graph.output)
    try:
        _append_outputs(model, tensors)
        return open_model(model, config=config)
    finally:
        del model.graph.output[count:]


def same_outputs(model: onnx.ModelProto | Path, other: onnx.ModelProto, batch: Batch) -> bool:
    """Tell whether two models (the first perhaps a file) give the same on a batch, up to the rounding of float32."""
    graph = (onnx_file.load(model, weights=False) if isinstance(model, Path) else model).graph
    held = {tensor.name for tensor in graph.initializer} | {value.name for value in graph.input}
    names = [value.name for value in graph.output if value.name not in held]
    before = run(_open(model, like=other), names, batch, sample=0)
    after = run(_open(other, like=other), names, batch, sample=0)
    return all(_close(before[name], after[name]) for name in names)


def _open(model: onnx.ModelProto | Path, *, like: onnx.ModelProto) -> ort.InferenceSession:
    if isinstance(model, Path):
        return open_session(model, config=large_config(like, SessionConfig(threads=1)))
    return open_exposed(model, threads=1)


def _close(a: Array, b: Array) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if not np.issubdtype(a.dtype, np.floating):
        return bool((a == b).all())
    scale = float(np.abs(a[np.isfinite(a)]).max(initial=0.0))
    return bool(np.allclose(a, b, rtol=1e-3, atol=1e-4 * scale, equal_nan=True))
