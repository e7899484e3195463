from __future__ import annotations

import numpy as np
import pytest

from edgeopt.passes.attention_layout import AttentionLayout

GRAPH = """g (float[b,s,8] q, float[b,s,4] k, float[b,s,4] v, bool[b,1,s,t] mask{more}) => ({y}{presents})
<int64[4] hq = {{0, 0, 4, 2}}, int64[4] hk = {{0, 0, 2, 2}}, int64[3] back = {{{back}}}> {{
    q1 = Reshape(q, hq)  q2 = Transpose<perm = {perm}>(q1)
    k1 = Reshape(k, hk)  k2 = Transpose<perm = [0, 2, 1, 3]>(k1)
    v1 = Reshape(v, hk)  v2 = Transpose<perm = [0, 2, 1, 3]>(v1)
    {attention}
    t = Transpose<perm = [0, 2, 1, 3]>(a)
    y = Reshape(t, back)
}}"""
PLAIN = {
    "more": "", "y": "float[b,s,8] y", "presents": "", "back": "0, 0, 8", "perm": "[0, 2, 1, 3]",
    "attention": "a = Attention<scale = 0.5>(q2, k2, v2, mask)",
}  # fmt: skip
CACHED = {
    "more": ", float[b,2,p,2] pk, float[b,2,p,2] pv",
    "presents": ", float[b,2,t,2] nk, float[b,2,t,2] nv",
    "attention": "a, nk, nv = Attention<scale = 0.5>(q2, k2, v2, mask, pk, pv)",
}
ROTATED = {
    "more": ", float[b,s,1] c, float[b,s,1] n",
    "attention": """q3 = RotaryEmbedding(q2, c, n)  k3 = RotaryEmbedding(k2, c, n)
    a = Attention<scale = 0.5>(q3, k3, v2, mask)""",
}


def inputs(batch, sequence, past=0, angles=False, cached=False):
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.normal(size=shape).astype(np.float32)

    values = {name: draw(batch, sequence, width) for name, width in {"q": 8, "k": 4, "v": 4}.items()}
    mask = rng.random((batch, 1, sequence, past + sequence)) < 0.7
    mask[..., 0] = True
    if angles:
        values |= {"c": draw(batch, sequence, 1), "n": draw(batch, sequence, 1)}
    if cached:
        values |= {"pk": draw(batch, 2, past, 2), "pv": draw(batch, 2, past, 2)}
    return values | {"mask": mask}


def test_transposes_around_grouped_attention_go(rewrite_swept, parse_graph):
    counts = rewrite_swept(AttentionLayout(), parse_graph(GRAPH.format(**PLAIN)), inputs(2, 5), inputs(1, 1))
    assert counts == {"Attention": 1}


def test_a_cache_keeps_its_four_axes_while_the_new_keys_have_three(rewrite_swept, parse_graph):
    batches = [inputs(2, 5, past, cached=True) for past in (0, 3)] + [inputs(1, 1, 7, cached=True)]
    assert rewrite_swept(AttentionLayout(), parse_graph(GRAPH.format(**{**PLAIN, **CACHED})), *batches) == {"Attention": 1}


def test_rotations_take_the_heads_side_by_side(rewrite_swept, parse_graph):
    graph = parse_graph(GRAPH.format(**{**PLAIN, **ROTATED}))
    assert rewrite_swept(AttentionLayout(), graph, inputs(2, 5, angles=True)) == {"Attention": 1, "RotaryEmbedding": 2}


def test_heads_that_were_joined_to_rows_are_joined_by_one_reshape(rewrite_swept, parse_graph):
    graph = parse_graph(
        GRAPH.format(**{**PLAIN, "y": "float[rows,8] y", "back": "-1, 8"}).replace("int64[3] back", "int64[2] back")
    )
    assert rewrite_swept(AttentionLayout(), graph, inputs(2, 5)) == {"Attention": 1, "Reshape": 1}


def test_heads_that_were_normed_are_joined_by_a_reshape(rewrite_swept, parse_graph):
    text = GRAPH.format(**PLAIN).replace("int64[4] hk", "float[2] w = {1.5, 0.5}, int64[4] hk")
    text = text.replace("(q1)", "(qn)").replace("q2 =", "qn = RMSNormalization(q1, w)  q2 =")
    counts = rewrite_swept(AttentionLayout(), parse_graph(text), inputs(2, 5))
    assert counts == {"Attention": 1, "RMSNormalization": 1, "Reshape": 2}


TURNED = {
    "perm": "[0, 2, 3, 1]",
    "attention": "q4 = Transpose<perm = [0, 1, 3, 2]>(q2)  a = Attention(q4, k2, v2, mask)",
}
READ_TWICE = {
    "attention": "a = Attention(q2, k2, v2, mask)  t2 = Transpose<perm = [0, 2, 1, 3]>(a)",
    "y": "float[b,s,4,2] t2, float[b,s,8] y",
}


@pytest.mark.parametrize("change", [TURNED, READ_TWICE])
def test_other_layouts_and_other_readers_stay(rewrite_swept, parse_graph, change):
    assert rewrite_swept(AttentionLayout(), parse_graph(GRAPH.format(**{**PLAIN, **change})), inputs(2, 5))["Transpose"] >= 4


def test_golden(golden):
    after = """g (float[b,s,8] q, float[b,s,4] k, float[b,s,4] v, bool[b,1,s,t] mask) => (float[b,s,8] y) {
        y = Attention<kv_num_heads = 2, q_num_heads = 4, scale = 0.5>(q, k, v, mask)
    }"""
    golden(AttentionLayout(), GRAPH.format(**PLAIN), after, inputs(2, 5))
