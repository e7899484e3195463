"""A convolution's weights have the type of its input.

torch's exporter folds a batch norm into the convolution before it; numpy has no bfloat16, so the folded weights come out as
float32, and the graph is not valid ONNX:

    Before: Conv(x bfloat16, W float32, B float32)
    After:  Conv(x bfloat16, W bfloat16, B bfloat16)
"""

from __future__ import annotations

import onnx_ir as ir

from edgeopt.graph.matching import constant
from edgeopt.passes.rewrite import Rewrite


class ConvTypes(Rewrite):
    """Give folded weights of convolutions the type of what they are convolved with."""

    def rewrite(self, model: ir.Model) -> int:
        """Retype every constant operand of a convolution that differs from its first."""
        count = 0
        for node in model.graph:
            if node.op_type not in {"Conv", "ConvTranspose"} or node.inputs[0] is None or node.inputs[0].dtype is None:
                continue
            wanted = node.inputs[0].dtype
            for value in node.inputs[1:]:
                tensor = constant(value)
                if value is not None and tensor is not None and tensor.dtype != wanted:
                    value.const_value = ir.tensor(tensor.numpy().astype(wanted.numpy()), name=value.name)
                    value.type = ir.TensorType(wanted)
                    count += 1
        return count
