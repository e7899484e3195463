from __future__ import annotations

import numpy as np
import pytest

from edgeopt.passes.instance_norm import InstanceNorm

GRAPH = """g (float[b,8,s] x) => (float[b,8,s] y) {{
    y = GroupNormalization<num_groups = {groups}, epsilon = 0.01>(x, scale, bias)
}}"""


@pytest.mark.parametrize(("groups", "instance_norms"), [(8, 1), (4, 0), (1, 0)])
def test_a_group_for_each_channel_is_an_instance_norm(rewrite_swept, parse_graph, groups, instance_norms):
    x = np.random.default_rng(1).normal(size=(2, 8, 5)).astype(np.float32)
    model = parse_graph(GRAPH.format(groups=groups), scale=(8,), bias=(8,))
    assert rewrite_swept(InstanceNorm(), model, {"x": x})["InstanceNormalization"] == instance_norms


def test_golden(golden):
    x = np.random.default_rng(1).normal(size=(2, 8, 5)).astype(np.float32)
    after = "g (float[b,8,s] x) => (float[b,8,s] y) { y = InstanceNormalization<epsilon = 0.01>(x, scale, bias) }"
    golden(InstanceNorm(), GRAPH.format(groups=8), after, {"x": x}, scale=(8,), bias=(8,))
