from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgeopt.passes.fuse_cache import FuseCache, has_cache

GRAPH = """g (float[b,4,s,2] q, float[b,2,s,2] k, float[b,2,s,2] v, float[b,2,p,2] pk, float[b,2,p,2] pv, bool[b,1,s,t] mask)
=> (float[b,4,s,2] y, float[b,2,t,2] nk, float[b,2,t,2] nv{more}) {{
    nk = Concat<axis = {axis}>({keys})
    nv = Concat<axis = -2>(pv, v)
    {attention}
}}"""
USUAL = {"more": "", "axis": "2", "keys": "pk, k", "attention": "y = Attention<scale = 0.5>(q, nk, nv, mask)"}


def batch(samples: int, sequence: int, past: int):
    rng = np.random.default_rng(0)
    shapes = {"q": (4, sequence), "k": (2, sequence), "v": (2, sequence), "pk": (2, past), "pv": (2, past)}
    values = {name: rng.normal(size=(samples, *shape, 2)).astype(np.float32) for name, shape in shapes.items()}
    return values | {"mask": np.tril(np.ones((sequence, past + sequence), bool), past)[None, None].repeat(samples, 0)}


def test_attention_lengthens_the_cache(rewrite, parse_graph):
    model = parse_graph(GRAPH.format(**USUAL))
    assert has_cache(ir.from_proto(model).graph)
    assert rewrite(FuseCache(), model, batch(2, 5, 0), batch(2, 5, 3), batch(1, 1, 6)) == {"Attention": 1}


@pytest.mark.parametrize(
    ("change", "sizes"),
    [
        ({"attention": "y = Attention<scale = 0.5, is_causal = 1>(q, nk, nv)"}, (2, 4, 0)),  # the triangle starts elsewhere
        ({"attention": "y = Attention(q, nk, nv, mask)  twice = Add(nk, nk)", "more": ", float[b,2,t,2] twice"}, (2, 5, 3)),
        ({"axis": "3", "attention": "y = Attention(q, k, nv, mask)"}, (1, 3, 0)),  # not lengthened, but widened
        ({"axis": "2", "keys": "pk, k, k", "attention": "y = Attention(q, k, v, mask)"}, (1, 3, 0)),
    ],
)
def test_what_is_no_cache_of_one_attention_stays(rewrite, parse_graph, change, sizes):
    text = GRAPH.format(**{**USUAL, **change})
    if change.get("axis") == "3":
        text = text.replace("float[b,2,t,2] nk", "float[b,2,s,4] nk").replace("float[b,2,p,2] pk", "float[b,2,s,2] pk")
    if "keys" in change:
        text = text.replace("float[b,2,t,2] nk", "float[b,2,u,2] nk")
    values = batch(*sizes)
    if change.get("axis") == "3":
        values["pk"] = values["k"]
    assert rewrite(FuseCache(), parse_graph(text), values)["Concat"] == 2


def test_a_cache_that_is_no_output_stays(rewrite, parse_graph):
    text = GRAPH.format(**USUAL).replace(", float[b,2,t,2] nk, float[b,2,t,2] nv", "")
    assert rewrite(FuseCache(), parse_graph(text), batch(2, 5, 3)) == {"Attention": 1, "Concat": 2}


def test_golden(golden):
    header = GRAPH.format(**USUAL).split("{")[0]
    after = header + "{ y, nk, nv = Attention<scale = 0.5>(q, k, v, mask, pk, pv) }"
    golden(FuseCache(), GRAPH.format(**USUAL), after, batch(2, 5, 3))
