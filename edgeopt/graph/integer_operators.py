"""The operators of quantized graphs: one table for everything that asks what runs on integers.

    conversion     from floating point to integers or back
    product        multiplies integers: its multiply-accumulates count as int8 when it ran
    weights        keeps its weights as integers and multiplies in floating point, or on integers where an attribute says so
    elementwise    moves, adds or looks up integers; no multiply-accumulates

Those of onnxruntime's domain com.microsoft appear in files and, after its fusions, in the graphs that it runs.
"""

from __future__ import annotations

from enum import Enum


class IntegerUse(Enum):
    """What an operator does with integers."""

    CONVERSION = "conversion"
    PRODUCT = "product"
    WEIGHTS = "weights"
    ELEMENTWISE = "elementwise"


_USES = {
    IntegerUse.CONVERSION: ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"),
    IntegerUse.PRODUCT: (
        "ConvInteger",
        "DynamicQuantizeLSTM",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulInteger16",
        "MatMulIntegerToFloat",
        "QAttention",
        "QGemm",
        "QLinearConv",
        "QLinearConvTranspose",
        "QLinearMatMul",
        "QOrderedMatMul",
    ),
    IntegerUse.WEIGHTS: ("GatherBlockQuantized", "MatMulNBits"),
    IntegerUse.ELEMENTWISE: (
        "QEmbedLayerNormalization",
        "QLinearAdd",
        "QLinearAveragePool",
        "QLinearConcat",
        "QLinearGlobalAveragePool",
        "QLinearLeakyRelu",
        "QLinearMul",
        "QLinearReduceMean",
        "QLinearSigmoid",
        "QLinearSoftmax",
        "QLinearWhere",
    ),
}
INTEGER_OPERATORS = {operator: use for use, operators in _USES.items() for operator in operators}
"""Every operator that marks a graph as quantized, and what it does with integers."""

CONVERSIONS = frozenset(_USES[IntegerUse.CONVERSION])
"""From floating point to integers or back."""
INTEGER_PRODUCTS = frozenset(_USES[IntegerUse.PRODUCT])
"""The kernels that multiply integers, whatever types they read and give."""
INTEGER_WEIGHTS = frozenset(_USES[IntegerUse.WEIGHTS])
"""Those that keep their weights as blocks of integers."""
GIVE_FLOATS = frozenset({"DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QAttention"})
"""Of those, the ones that read or give floating point and round inside: their types do not show what they compute in."""
PAIRS = frozenset({"QuantizeLinear", "DequantizeLinear"})
"""What Q/DQ pairs are made of."""
