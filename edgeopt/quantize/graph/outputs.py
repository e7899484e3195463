"""Inner tensors as outputs of a model, so that one can look at them.

Before: x → A → t → B → y          outputs: y
After:  x → A → t → B → y          outputs: y, t
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx
import onnxruntime as ort

from edgeopt.data.batches import Array, Batch
from edgeopt.errors import DataError
from edgeopt.targets.session import SessionConfig, open_model


def expose(model: onnx.ModelProto, tensors: Iterable[str]) -> onnx.ModelProto:
    """Return a model whose outputs are those of `model` and then the `tensors` that were not outputs yet."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    known = {value.name for value in model.graph.output}
    types = {value.name: value for value in model.graph.value_info}
    for name in tensors:
        if name not in known:
            exposed.graph.output.append(types.get(name) or onnx.ValueInfoProto(name=name))
            known.add(name)
    return exposed


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


def open_exposed(model: onnx.ModelProto, *, threads: int, optimize: bool = True, arena: bool = True) -> ort.InferenceSession:
    """Open a session on a model in memory; one beyond protobuf's 2 GiB takes the way over a temporary folder."""
    config = SessionConfig(threads=threads, optimization="all" if optimize else "none", arena=arena)
    return open_model(model, config=config)


def same_outputs(model: onnx.ModelProto, other: onnx.ModelProto, batch: Batch) -> bool:
    """Tell whether two models give the same on a batch, up to the rounding of float32."""
    names = [value.name for value in model.graph.output]
    held = {tensor.name for tensor in model.graph.initializer} | {value.name for value in model.graph.input}
    names = [name for name in names if name not in held]
    before = run(open_exposed(model, threads=1), names, batch, sample=0)
    after = run(open_exposed(other, threads=1), names, batch, sample=0)
    return all(_close(before[name], after[name]) for name in names)


def _close(a: Array, b: Array) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if not np.issubdtype(a.dtype, np.floating):
        return bool((a == b).all())
    scale = float(np.abs(a[np.isfinite(a)]).max(initial=0.0))
    return bool(np.allclose(a, b, rtol=1e-3, atol=1e-4 * scale, equal_nan=True))
