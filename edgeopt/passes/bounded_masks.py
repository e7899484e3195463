"""Masks of attention with a bounded depth, so that scores and mask fit one integer grid.

Exporters mask padding with the lowest float. On a grid that spans [-3.4e38, 0] every score is 0. Softmax of a score that is
100 below the others is zero in 32-bit floats already, so that is as deep as a mask need be.

    Before: Softmax(Add(Where(mask, 0, -3.4e38), scores))
    After:  Softmax(Add(Where(mask, 0, -100), scores))
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeopt.graph.editing import replace_constant
from edgeopt.graph.matching import array, is_captured, is_float, is_standard
from edgeopt.passes.rewrite import Rewrite

_DEEP = 1e6  # no score reaches this; a constant beyond it in an addition, a choice or a factor is meant as infinity
_DEPTH = 100.0
_READERS = frozenset(("Add", "Where", "Mul", "Sub"))


class BoundedMasks(Rewrite):
    """Bound the constants that stand for minus infinity in a masked sum; counts them."""

    def rewrite(self, model: ir.Model) -> int:
        """Bound every floating-point constant that only additions, choices and factors read, where there is a Softmax."""
        graph = model.graph
        if not any(is_standard(node, "Softmax") for node in graph):
            return 0
        deep = [value for value in graph.initializers.values() if _is_mask(value, graph)]
        for value in deep:
            values = array(value)
            if values is not None:
                replace_constant(value, np.maximum(values, -_DEPTH))
        return len(deep)


def _is_mask(value: ir.Value, graph: ir.Graph) -> bool:
    readers = value.consumers()
    if not is_float(value) or not readers or is_captured(value, graph) or value.is_graph_output():
        return False
    values = array(value)
    if any(node.op_type not in _READERS for node in readers) or values is None:
        return False
    return bool(values.size and values.min() < -_DEEP)
