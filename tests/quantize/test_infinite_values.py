"""Infinities that a model means: in constants, and in what depends on them."""

import numpy as np
import onnx
import pytest

from edgeopt.graph.files import as_ir
from edgeopt.quantize.infinite_values import holds_infinity, reached_by_infinity


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([0.0, -np.inf], True),
        ([np.finfo(np.float32).min], True),
        ([-1e30, 1.0], True),
        ([-1e9, 65504.0], False),
        ([], False),
        ([np.nan], False),
    ],
)
def test_what_stands_for_infinity(values, found):
    assert holds_infinity(np.array(values, dtype=np.float32)) == found
    assert not holds_infinity(np.array([2**62]))


def test_what_depends_on_an_infinite_constant_or_a_logarithm():
    model = onnx.parser.parse_model("""
    <ir_version: 10, opset_import: ["" : 21]>
    g (float[4] x, bool[4] m, bool c) => (float[4] y, float[4] z, float[4] i) <float[1] low = {-3.4e38}, float[1] k = {2.0}> {
        w = Where (m, x, low)
        y = Add (w, k)
        z = Mul (x, k)
        l = Log (x)
        t = Constant <value_float = -1e38> ()
        u = Max (t, x)
        i = If (c) <then_branch = a () => (float[4] p) { p = Neg (u) }, else_branch = b () => (float[4] q) { q = Abs (x) }>
    }
    """)
    assert reached_by_infinity(as_ir(model)) == {"low", "w", "y", "l", "t", "u", "i"}
    assert reached_by_infinity(as_ir(model), ["x"]) == {"low", "w", "y", "l", "t", "u", "i", "x", "z"}
