from __future__ import annotations

import numpy as np

from edgeopt.passes.recurrent_weights import RecurrentWeights

GRAPH = """g (float[t,b,3] x{more}) => (float[t,1,b,2] y) {{
    r, z, n = Split<axis = 0, num_outputs = 3>({weight})
    turned = Concat<axis = 0>(z, r, n)
    zero = Constant<value = int64[1] {{0}}>()
    w = Unsqueeze(turned, zero)
    raised = Unsqueeze(recurrent, zero)
    y = GRU<hidden_size = 2, linear_before_reset = 1>(x, w, raised)
}}"""
BATCH = {"x": np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)}


def test_split_and_joined_gates_become_one_constant(rewrite_swept, parse_graph):
    model = parse_graph(GRAPH.format(weight="weight", more=""), weight=(6, 3), recurrent=(6, 2))
    assert rewrite_swept(RecurrentWeights(), model, BATCH) == {"GRU": 1}


def test_weights_that_are_given_stay(rewrite_swept, parse_graph):
    model = parse_graph(GRAPH.format(weight="given", more=", float[6,3] given"), recurrent=(6, 2))
    given = BATCH | {"given": np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)}
    assert rewrite_swept(RecurrentWeights(), model, given)["Split"] == 1


def test_golden(golden):
    after = "g (float[t,b,3] x) => (float[t,1,b,2] y) { y = GRU<hidden_size = 2, linear_before_reset = 1>(x, joined, kept) }"
    weights = {"weight": (6, 3), "recurrent": (6, 2), "joined": (1, 6, 3), "kept": (1, 6, 2)}
    golden(RecurrentWeights(), GRAPH.format(weight="weight", more=""), after, BATCH, **weights)
