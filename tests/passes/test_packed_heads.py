from __future__ import annotations

import numpy as np
import pytest

from edgeopt.passes.packed_heads import PackedHeads

GRAPH = """g (float[2,5,24] x) => (float[2,5,4,2] q, float[2,5,4,2] k, float[2,5,4,2] v{more})
<int64[5] shape = {{2, -1, 3, 4, 2}}, int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}}, int64[1] three = {{3}},
 int64[1] axis = {{{axis}}}> {{
    p = Reshape(x, shape)
    q1 = Slice(p, zero, {end}, axis)  q = Squeeze(q1, axis)
    k1 = Slice(p, one, two, axis)     k = Squeeze(k1, axis)
    v1 = Slice(p, two, three, axis)   v = Squeeze(v1, axis)
    {reader}
}}"""
USUAL = {"more": "", "axis": "2", "end": "one", "reader": ""}


def x():
    return {"x": np.random.default_rng(0).normal(size=(2, 5, 24)).astype(np.float32)}


@pytest.mark.parametrize("axis", ["2", "-3"])
def test_parts_are_split_along_the_features(rewrite_swept, parse_graph, axis):
    assert rewrite_swept(PackedHeads(), parse_graph(GRAPH.format(**{**USUAL, "axis": axis})), x()) == {"Split": 1, "Reshape": 3}


def test_a_view_that_something_else_reads_stays(rewrite_swept, parse_graph):
    text = GRAPH.format(**{**USUAL, "more": ", float[2,5,3,4,2] twice", "reader": "twice = Add(p, p)"})
    assert rewrite_swept(PackedHeads(), parse_graph(text), x())["Slice"] == 3


def test_a_slice_of_two_parts_stays(rewrite_swept, parse_graph):
    text = GRAPH.format(**{**USUAL, "end": "two"}).replace("q = Squeeze(q1, axis)", "q = Identity(q1)")
    text = text.replace("float[2,5,4,2] q,", "float[2,5,2,4,2] q,")
    assert rewrite_swept(PackedHeads(), parse_graph(text), x())["Slice"] == 3


def test_golden(golden):
    after = """g (float[2,5,24] x) => (float[2,5,4,2] q, float[2,5,4,2] k, float[2,5,4,2] v)
    <int64[4] heads = {0, 0, 4, 2}> {
        q1, k1, v1 = Split<axis = -1, num_outputs = 3>(x)
        q = Reshape(q1, heads)
        k = Reshape(k1, heads)
        v = Reshape(v1, heads)
    }"""
    golden(PackedHeads(), GRAPH.format(**USUAL), after, x())
