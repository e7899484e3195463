"""How often a quantized model gives the same answer as the floating-point one: the class with the largest output."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from edgeopt.batches import Batch
from edgeopt.graph.files import signature
from edgeopt.graph.matching import is_float, name_of
from edgeopt.graph.outputs import open_exposed, run
from edgeopt.quantize.result import Agreement

_CLASSES_AXIS = 1


def agreement(model: ir.Model, quantized: ir.Model, batches: Iterable[Batch], *, threads: int) -> Agreement | None:
    """Return how many answers stay the same; None where no output has the form [samples, classes].

    Args:
        model: floating point.
        quantized: its quantized form, run as onnxruntime optimises it.
        batches: real inputs.
        threads: for inference.
    """
    tensors = [value for value in model.graph.outputs if isinstance(value.type, ir.TensorType) and is_float(value)]
    names = [name_of(value) for value in tensors]
    before, after = (open_exposed(item, threads=threads) for item in (model, quantized))
    types = {spec.name: spec.dtype for spec in signature(quantized).inputs}
    same = total = 0
    for number, batch in enumerate(batches):
        given = {name: values.astype(types[name], copy=False) for name, values in batch.items()}
        expected, got = run(before, names, batch, sample=number), run(after, names, given, sample=number)
        for name in names:
            logits = expected[name]
            if logits.ndim == _CLASSES_AXIS + 1 and logits.shape[_CLASSES_AXIS] > 1:
                same += int((logits.argmax(axis=_CLASSES_AXIS) == got[name].argmax(axis=_CLASSES_AXIS)).sum())
                total += len(logits)
    return Agreement(same, total) if total else None
