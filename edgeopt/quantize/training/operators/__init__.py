"""ONNX operators in PyTorch, by their standard semantics of operator set 13 and later.

An operator is a function of the node's attributes and its inputs (None where one is left out); it returns a tensor, or a tuple
of them where the node has several outputs. Shapes, indices and flags are tensors as well, on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from edgeopt.errors import ModelError
from edgeopt.graph.matching import array
from edgeopt.quantize.training.operators.decoders import DECODERS
from edgeopt.quantize.training.operators.elementwise import ELEMENTWISE
from edgeopt.quantize.training.operators.layers import LAYERS
from edgeopt.quantize.training.operators.shapes import SHAPES

Attributes = Mapping[str, Any]
Operator = Callable[..., Tensor | tuple[Tensor, ...]]

OPERATORS: Mapping[str, Operator] = {**ELEMENTWISE, **SHAPES, **LAYERS, **DECODERS}
"""By the operator's name, with its domain in front where that is not ONNX's own."""


def called(node: ir.Node) -> str:
    """Return what an operator is called in `OPERATORS`."""
    return f"{node.domain}.{node.op_type}" if node.domain not in {"", "ai.onnx"} else node.op_type


def operator_of(node: ir.Node) -> Operator:
    """Return a node's operator with its attributes, a function of its inputs; it is one of `OPERATORS`."""
    function = OPERATORS[called(node)]
    values = {name: item.value for name, item in node.attributes.items()}
    if node.op_type == "Split" and len(node.inputs) == 1:
        values.setdefault("num_outputs", len(node.outputs))
    return lambda *inputs: function(values, *inputs)


def tensor_of(value: ir.Value) -> Tensor:
    """Return a constant's values.

    Raises:
        ModelError: it has none.
    """
    values = array(value)
    if values is None:
        raise ModelError(f"{value.name}: a constant without values")
    return torch.from_numpy(np.array(values))
