from __future__ import annotations

import numpy as np
import pytest

from edgeopt.passes.fuse_rotary import FuseRotary

GRAPH = """g (float[b,2,s,8] x, float[b,s,{angles}] f) => (float[b,2,s,8] y)
<int64[1] zero = {{0}}, int64[1] half = {{{middle}}}, int64[1] end = {{{end}}}, int64[1] last = {{3}}, int64[1] one = {{1}}> {{
    both = Concat<axis = -1>({joined})
    c = Cos(both)
    n = Sin(both)
    cu = Unsqueeze(c, one)
    nu = Unsqueeze(n, one)
    straight = Mul({product})
    x1 = Slice(x, zero, half, last, one)
    x2 = Slice(x, half, end, last, one)
    away = Neg({negated})
    turned = Concat<axis = -1>(away, {kept})
    across = Mul(turned, nu)
    y = Add({sum})
}}"""
USUAL = {
    "angles": 4, "middle": 4, "end": 9223372036854775807, "joined": "f, f", "product": "x, cu", "negated": "x2", "kept": "x1",
    "sum": "straight, across",
}  # fmt: skip


def batch(angles: int = 4, samples: int = 2):
    rng = np.random.default_rng(1)
    return {
        "x": rng.normal(size=(2, 2, 3, 8)).astype(np.float32),
        "f": rng.uniform(-3, 3, (samples, 3, angles)).astype(np.float32),
    }


@pytest.mark.parametrize("change", [{}, {"product": "cu, x", "sum": "across, straight"}, {"end": 8}])
def test_seven_nodes_become_one_in_any_order_of_operands(rewrite_swept, parse_graph, change):
    found = rewrite_swept(FuseRotary(), parse_graph(GRAPH.format(**{**USUAL, **change})), batch())
    assert found["RotaryEmbedding"] == 1
    assert not {"Neg", "Add", "Mul", "Unsqueeze"} & found.keys()


def test_angles_that_all_samples_share_are_given_to_each(rewrite_swept, parse_graph):
    text = GRAPH.format(**USUAL).replace("float[b,s,4] f", "float[1,s,4] f")
    found = rewrite_swept(FuseRotary(), parse_graph(text), batch(samples=1))
    assert (found["RotaryEmbedding"], found["Expand"]) == (1, 2)


def test_angles_of_another_batch_stay(rewrite_swept, parse_graph):
    text = GRAPH.format(**USUAL).replace("float[b,s,4] f", "float[other,s,4] f")
    assert rewrite_swept(FuseRotary(), parse_graph(text), batch())["RotaryEmbedding"] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"negated": "x1", "kept": "x2"},  # turned the other way
        {"middle": 2},  # no halves
        {"angles": 8, "joined": "f"},  # nothing says that the halves of the angles are equal
    ],
)
def test_what_is_no_rotation_of_halves_stays(rewrite_swept, parse_graph, change):
    found = rewrite_swept(FuseRotary(), parse_graph(GRAPH.format(**{**USUAL, **change})), batch(change.get("angles", 4)))
    assert found["RotaryEmbedding"] == 0


def test_golden(golden):
    after = """g (float[b,2,s,8] x, float[b,s,4] f) => (float[b,2,s,8] y) {
        c = Cos(f)
        n = Sin(f)
        y = RotaryEmbedding(x, c, n)
    }"""
    golden(FuseRotary(), GRAPH.format(**USUAL), after, batch())
