"""ONNX operators in PyTorch, by their standard semantics of operator set 13 and later.

An operator is a function of the node's attributes and its inputs (None where one is left out); it returns a tensor, or a tuple
of them where the node has several outputs. Shapes, indices and flags are tensors as well, on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from edgeopt.quantize.training.operators.elementwise import ELEMENTWISE
from edgeopt.quantize.training.operators.layers import LAYERS
from edgeopt.quantize.training.operators.shapes import SHAPES

Attributes = Mapping[str, Any]
Operator = Callable[..., Tensor | tuple[Tensor, ...]]

OPERATORS: Mapping[str, Operator] = {**ELEMENTWISE, **SHAPES, **LAYERS}
"""By the operator's name, with its domain in front where that is not ONNX's own."""
