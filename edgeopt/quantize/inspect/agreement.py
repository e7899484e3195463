"""How often a quantized model gives the same answer as the floating-point one: the class with the largest output.

An output has classes if its form is [samples, classes], or if a softmax makes it or an ArgMax reads it: along that axis, one
answer for each place.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from edgeopt.graph.matching import attribute, name_of
from edgeopt.quantize.inspect.exact import ExactOutputs
from edgeopt.quantize.result import Agreement

_CLASSES_AXIS = 1


def agreement(exact: ExactOutputs, quantized: ir.Model) -> Agreement | None:
    """Return how many answers stay the same; None where no output has classes.

    Args:
        exact: what the floating-point model gives on real inputs.
        quantized: its quantized form, run as onnxruntime optimises it.
    """
    same = total = 0
    axes = dict(_classes_axes(exact.model))
    for expected, got in exact.beside(quantized):
        for name, logits in expected.items():
            axis = axes.get(name, _CLASSES_AXIS if logits.ndim == _CLASSES_AXIS + 1 else None)
            if axis is not None and logits.shape[axis] > 1:
                answers = logits.argmax(axis=axis) == got[name].argmax(axis=axis)
                same, total = same + int(answers.sum()), total + answers.size
    return Agreement(same, total) if total else None


def _classes_axes(model: ir.Model) -> Iterator[tuple[str, int]]:
    """Yield the outputs that a softmax makes or an ArgMax reads, with its axis."""
    for value in model.graph.outputs:
        producer = value.producer()
        if producer is not None and producer.op_type in {"Softmax", "LogSoftmax"}:
            yield name_of(value), int(attribute(producer, "axis", -1))
        for reader in value.consumers():
            if reader.op_type == "ArgMax":
                yield name_of(value), int(attribute(reader, "axis", 0))
