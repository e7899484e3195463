"""The signal-to-noise ratio at a model's outputs, whatever became of its inner tensors."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx

from edgeopt.data.batches import Batch
from edgeopt.graph import onnx_file
from edgeopt.graph.index import GraphIndex
from edgeopt.graph.outputs import open_exposed, run
from edgeopt.quantize.inspect.sqnr import CEILING_DB, LayerNoise, sqnr_db


def output_noise(
    model: onnx.ModelProto, converted: onnx.ModelProto, batches: Iterable[Batch], *, threads: int
) -> tuple[LayerNoise, ...]:
    """Return the SQNR of every floating-point output; inputs are given in the types that `converted` wants."""
    index = GraphIndex(model.graph)
    names = [value.name for value in model.graph.output if index.is_float(value.name)]
    before, after = open_exposed(model, threads=threads), open_exposed(converted, threads=threads)
    types = {spec.name: spec.dtype for spec in onnx_file.signature(converted).inputs}
    signal, noise = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for number, batch in enumerate(batches):
        expected = run(before, names, batch, sample=number)
        got = run(after, names, {name: values.astype(types[name]) for name, values in batch.items()}, sample=number)
        for name in names:
            x, y = expected[name].astype(np.float64), got[name].astype(np.float64)
            finite = np.isfinite(x)
            signal[name] += float(np.square(x[finite]).sum())
            lost = not np.isfinite(y[finite]).all()
            noise[name] += float("inf") if lost else float(np.square(x[finite] - y[finite]).sum())
    return tuple(LayerNoise(name, "output", _sqnr_db(signal[name], noise[name])) for name in names)


def _sqnr_db(signal: float, noise: float) -> float:
    return sqnr_db(signal, noise) if np.isfinite(noise) else -CEILING_DB
