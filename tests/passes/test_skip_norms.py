from __future__ import annotations

import numpy as np
import pytest

from edgeopt.passes.skip_norms import SkipNorms

GRAPH = """g (float[b,s,8] x, float[b,s,8] y) => (float[b,s,8] z, float[b,s,8] n{more}) {{
    total = Add(x, {other})
    n = RMSNormalization<axis = {axis}, epsilon = 0.001>(total, w)
    z = Mul(total, n)
}}"""


def batch():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(2, 3, 8)).astype(np.float32) for name in "xy"}


def test_sum_and_norm_are_one_node_and_the_sum_is_read_on(rewrite, parse_graph):
    model = parse_graph(GRAPH.format(more="", other="y", axis=-1), w=(8,))
    model.opset_import.add(domain="com.microsoft", version=1)
    assert rewrite(SkipNorms(), model, batch()) == {"SkipSimplifiedLayerNormalization": 1, "Mul": 1}


@pytest.mark.parametrize(
    "change", [{"other": "w"}, {"more": ", float[b,s,8] total"}], ids=["a bias is no residual", "the sum is an output"]
)
def test_what_the_kernel_does_not_do_stays(rewrite, parse_graph, change):
    model = parse_graph(GRAPH.format(**{"more": "", "other": "y", "axis": -1, **change}), w=(8,))
    assert rewrite(SkipNorms(), model, batch())["RMSNormalization"] == 1
