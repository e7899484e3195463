from __future__ import annotations

import numpy as np
import pytest

from edgeopt.passes.fuse_interleaved_rotary import FuseInterleavedRotary

GRAPH = """g (float[b,2,s,8] x, float[b,1,s,4] cos, float[b,1,s,4] sin) => (float[b,2,s,8] y)
<int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] end = {{9223372036854775807}}, int64[1] axis = {{3}},
 int64[1] two = {{2}}, int64[1] last = {{4}}, int64[5] twice = {{1, 1, 1, 1, 2}}, int64[4] flat = {{0, 0, -1, 8}}> {{
    cos_apart = Unsqueeze(cos, last)  cos_twice = Expand(cos_apart, twice)  c = Reshape(cos_twice, flat)
    sin_apart = Unsqueeze(sin, last)  sin_twice = Expand(sin_apart, twice)  d = Reshape(sin_twice, flat)
    even = Slice(x, zero, end, axis, two)
    odd = Slice(x, one, end, axis, two)
    negative = Neg({negated})
    left = Unsqueeze(negative, last)
    right = Unsqueeze({kept}, last)
    pairs = Concat<axis = -1>(left, right)
    t = Reshape(pairs, flat)
    straight = Mul(x, c)
    across = Mul(t, d)
    y = Add(straight, across)
}}"""


def batch():
    rng = np.random.default_rng(0)
    shapes = {"x": (2, 2, 3, 8), "cos": (2, 1, 3, 4), "sin": (2, 1, 3, 4)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_neighbours_are_rotated_by_one_node(rewrite_swept, parse_graph):
    model = parse_graph(GRAPH.format(negated="odd", kept="even"))
    assert rewrite_swept(FuseInterleavedRotary(), model, batch()) == {"Squeeze": 2, "RotaryEmbedding": 1}


@pytest.mark.parametrize(("negated", "kept"), [("even", "odd"), ("odd", "odd")], ids=["turned back", "one of them twice"])
def test_another_order_is_no_rotation(rewrite_swept, parse_graph, negated, kept):
    model = parse_graph(GRAPH.format(negated=negated, kept=kept))
    assert rewrite_swept(FuseInterleavedRotary(), model, batch())["Add"] == 1
