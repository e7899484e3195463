from __future__ import annotations

import numpy as np
import pytest

from edgeopt.export.passes.attention_layout import AttentionLayout

GRAPH = """g (float[b,s,8] q, float[b,s,4] k, float[b,s,4] v, bool[b,1,s,s] mask) => (float[b,s,8] y)
<int64[4] hq = {{0, 0, 4, 2}}, int64[4] hk = {{0, 0, 2, 2}}, int64[3] back = {{0, 0, 8}}> {{
    q1 = Reshape(q, hq)  q2 = Transpose<perm = {perm}>(q1)
    k1 = Reshape(k, hk)  k2 = Transpose<perm = [0, 2, 1, 3]>(k1)
    v1 = Reshape(v, hk)  v2 = Transpose<perm = [0, 2, 1, 3]>(v1)
    a = Attention<scale = 0.5>(q2, k2, v2, mask)
    t = Transpose<perm = [0, 2, 1, 3]>(a)
    y = Reshape(t, back)
}}"""


def inputs(batch, sequence):
    rng = np.random.default_rng(0)
    shapes = {"q": 8, "k": 4, "v": 4}
    values = {name: rng.normal(size=(batch, sequence, width)).astype(np.float32) for name, width in shapes.items()}
    mask = rng.random((batch, 1, sequence, sequence)) < 0.7
    mask[..., 0] = True
    return values | {"mask": mask}


def test_transposes_around_grouped_attention_go(rewrite, parse_graph):
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    model = parse_graph(GRAPH.format(perm="[0, 2, 1, 3]"))

    class Both(AttentionLayout):
        def call(self, model):
            return RemoveUnusedNodesPass()(super().call(model))

    counts = rewrite(Both(), model, inputs(2, 5), inputs(1, 1))
    assert counts == {"Attention": 1}


@pytest.mark.parametrize("perm", ["[0, 2, 1, 3]"])
def test_a_cache_keeps_its_layout(rewrite, parse_graph, perm):
    graph = GRAPH.format(perm=perm).replace("(float[b,s,8] y)", "(float[b,s,8] y, float[b,2,s,2] pk, float[b,2,s,2] pv)")
    graph = graph.replace("a = Attention<scale = 0.5>", "a, pk, pv = Attention<scale = 0.5>")
    assert rewrite(AttentionLayout(), parse_graph(graph), inputs(2, 5))["Transpose"] == 4
