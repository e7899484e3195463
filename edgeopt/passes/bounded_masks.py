"""Masks of attention with a bounded depth, so that scores and mask fit one integer grid.

Exporters mask padding with the lowest float. On a grid that spans [-3.4e38, 0] every score is 0. Softmax of a score that is
100 below the others is zero in 32-bit floats already, so that is as deep as a mask need be.

Before: Where (mask, 0, -3.4e38) → Add (scores) → Softmax        After: Where (mask, 0, -100) → Add (scores) → Softmax
"""

from __future__ import annotations

import numpy as np
import onnx

from edgeopt.graph.index import FLOATS, GraphIndex, replace_constant

_DEEP = 1e6  # no score reaches this; a constant beyond it in an addition, a choice or a factor is meant as infinity
_DEPTH = 100.0
_READERS = {"Add", "Where", "Mul", "Sub"}


def bound_masks(model: onnx.ModelProto) -> int:
    """Bound, in place, the constants that stand for minus infinity in a masked sum; return how many there were."""
    index = GraphIndex(model.graph)
    if not any(node.op_type == "Softmax" for node in model.graph.node):
        return 0
    count = 0
    for name, tensor in index.initializers.items():
        readers = index.consumers[name]
        if tensor.data_type not in FLOATS or not readers or any(node.op_type not in _READERS for node in readers):
            continue
        values = index.constant(name)
        if values is not None and values.size and values.min() < -_DEEP:
            replace_constant(model.graph, name, np.maximum(values, -_DEPTH))
            count += 1
    return count
