from __future__ import annotations

import numpy as np
import pytest

from edgeopt.passes.partial_rotary import PartialRotary

GRAPH = """g (float[b,2,s,16] x, float[b,s,4] cos, float[b,s,4] sin) => (float[b,2,s,16] y)
<int64[1] zero = {{0}}, int64[1] width = {{8}}, int64[1] rest = {{{rest}}},
 int64[1] end = {{9223372036854775807}}, int64[1] axis = {{3}}> {{
    first = Slice(x, zero, width, axis)
    second = Slice(x, rest, end, axis)
    turned = RotaryEmbedding(first, cos, sin)
    y = Concat<axis = -1>({order})
}}"""


def batch():
    rng = np.random.default_rng(0)
    shapes = {"x": (2, 2, 3, 16), "cos": (2, 3, 4), "sin": (2, 3, 4)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_the_rotation_takes_the_whole_head(rewrite_swept, parse_graph):
    model = parse_graph(GRAPH.format(rest=8, order="turned, second"))
    assert rewrite_swept(PartialRotary(), model, batch()) == {"RotaryEmbedding": 1}


@pytest.mark.parametrize("change", [{"rest": 6}, {"order": "second, turned"}], ids=["overlapping", "the rest first"])
def test_parts_that_do_not_follow_each_other_stay(rewrite_swept, parse_graph, change):
    text = GRAPH.format(**{"rest": 8, "order": "turned, second", **change})
    if change.get("rest") == 6:
        text = text.replace("float[b,2,s,16] y", "float[b,2,s,18] y")
    assert rewrite_swept(PartialRotary(), parse_graph(text), batch())["Concat"] == 1
