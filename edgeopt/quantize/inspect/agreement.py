"""How often a quantized model gives the same answer as the floating-point one: the class with the largest output."""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.quantize.inspect.exact import ExactOutputs
from edgeopt.quantize.result import Agreement

_CLASSES_AXIS = 1


def agreement(exact: ExactOutputs, quantized: ir.Model) -> Agreement | None:
    """Return how many answers stay the same; None where no output has the form [samples, classes].

    Args:
        exact: what the floating-point model gives on real inputs.
        quantized: its quantized form, run as onnxruntime optimises it.
    """
    same = total = 0
    for expected, got in exact.beside(quantized):
        for name, logits in expected.items():
            if logits.ndim == _CLASSES_AXIS + 1 and logits.shape[_CLASSES_AXIS] > 1:
                same += int((logits.argmax(axis=_CLASSES_AXIS) == got[name].argmax(axis=_CLASSES_AXIS)).sum())
                total += len(logits)
    return Agreement(same, total) if total else None
