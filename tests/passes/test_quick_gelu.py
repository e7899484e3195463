"""x · sigmoid(x) behind a DequantizeLinear becomes one kernel; anywhere else onnxruntime fuses it by itself."""

import numpy as np
import pytest

from edgeopt.passes.quick_gelu import QuickGelu

HEAD = "g (float[b,4] x) => (float[b,4] y) <float s = {0.05}, uint8 z = {120}> {"
ROUNDED = "q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z)"


@pytest.fixture
def batch():
    return {"x": np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32) * 3}


@pytest.mark.parametrize(
    ("body", "fused"),
    [
        (f"{ROUNDED} g = Sigmoid (d) y = Mul (d, g)", 1),
        (f"{ROUNDED} g = Sigmoid (d) y = Mul (g, d)", 1),
        (f"{ROUNDED} g = Sigmoid (d) y = Mul (g, x)", 0),
        (f"{ROUNDED} g = Sigmoid (d) m = Mul (g, d) y = Add (m, g)", 0),
        ("g = Sigmoid (x) y = Mul (x, g)", 0),
    ],
    ids=["pair", "other way round", "gate of another tensor", "gate read twice", "not dequantized"],
)
def test_only_pairs_behind_dequantize_linear_are_fused(rewrite_swept, parse_graph, batch, body, fused):
    assert rewrite_swept(QuickGelu(), parse_graph(f"{HEAD} {body} }}"), batch).get("QuickGelu", 0) == fused


def test_nothing_is_left_of_the_pair(rewrite_swept, parse_graph, batch):
    operators = rewrite_swept(QuickGelu(), parse_graph(f"{HEAD} {ROUNDED} g = Sigmoid (d) y = Mul (d, g) }}"), batch)
    assert operators == {"QuantizeLinear": 1, "DequantizeLinear": 1, "QuickGelu": 1}
