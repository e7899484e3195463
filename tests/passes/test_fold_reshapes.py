from __future__ import annotations

import numpy as np

from edgeopt.passes.fold_reshapes import FoldReshapes


def x(batch=2):
    return {"x": np.random.default_rng(1).normal(size=(batch, 3, 4)).astype(np.float32)}


def test_the_second_reshape_reads_from_before_the_first(rewrite, parse_graph):
    model = parse_graph(
        """g (float[b,3,4] x) => (float[r,2] y) <int64[2] first = {-1, 4}, int64[2] second = {-1, 2}> {
        h = Reshape(x, first)  h2 = Reshape(h, second)  y = Relu(h2)
        }"""
    )
    counts = rewrite(FoldReshapes(), model, x(), x(1))
    assert counts["Reshape"] == 2, "the first stays until unused nodes are swept"


def test_a_zero_copies_a_size_and_must_see_its_own_input(rewrite, parse_graph):
    model = parse_graph(
        """g (float[2,3,4] x) => (float[6,2,2] y) <int64[2] first = {6, 4}, int64[3] second = {0, 2, 2}> {
        h = Reshape(x, first)  h2 = Reshape(h, second)  y = Relu(h2)
        }"""
    )
    rewrite(FoldReshapes(), model, x())


def test_a_reshape_to_the_same_shape_is_skipped(rewrite, parse_graph):
    model = parse_graph(
        "g (float[2,3,4] x) => (float[2,3,4] y) <int64[3] same = {2, 3, 4}> { h = Reshape(x, same)  y = Relu(h) }"
    )
    rewrite(FoldReshapes(), model, x())


def test_golden(golden):
    before = """g (float[b,3,4] x) => (float[r,2] y) <int64[2] first = {-1, 4}, int64[2] second = {-1, 2}> {
        h = Reshape(x, first)  h2 = Reshape(h, second)  y = Relu(h2)
    }"""
    after = "g (float[b,3,4] x) => (float[r,2] y) <int64[2] second = {-1, 2}> { h = Reshape(x, second)  y = Relu(h) }"
    golden(FoldReshapes(), before, after, x())
