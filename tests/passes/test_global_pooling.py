"""Means over the image become pools, and compute the same."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.passes.global_pooling import GlobalPooling

IMAGES = {"x": np.random.default_rng(0).standard_normal((2, 3, 5, 4)).astype(np.float32)}
MEAN = """g (float[n,3,5,4] x) => (float[SHAPE] y) <int64[2] axes = {AXES}> { y = ReduceMean<keepdims = KEEP>(x, axes) }"""
OLD = """g (float[n,3,5,4] x) => (float[n,3,1,1] y) { y = ReduceMean<axes = [2, 3]>(x) }"""


def mean(axes: str, keep: int, shape: str) -> str:
    return MEAN.replace("AXES", axes).replace("KEEP", str(keep)).replace("SHAPE", shape)


@pytest.mark.parametrize("axes", ["2, 3", "-1, -2"])
@pytest.mark.parametrize("keep", [1, 0])
def test_golden(golden, axes, keep):
    shape = "n,3,1,1" if keep else "n,3"
    nodes = "y = GlobalAveragePool(x)" if keep else "p = GlobalAveragePool(x)  y = Flatten<axis = 1>(p)"
    golden(GlobalPooling(), mean(axes, keep, shape), f"g (float[n,3,5,4] x) => (float[{shape}] y) {{ {nodes} }}", IMAGES)


def test_axes_are_an_attribute_in_old_operator_sets(rewrite, parse_graph):
    model = parse_graph("g (float[n,3,5,4] x) => (float[n,3,1,1] y) { y = Relu(x) }")
    model.graph.node[0].op_type = "ReduceMean"
    model.graph.node[0].attribute.add(name="axes", ints=[2, 3], type="INTS")
    model.opset_import[0].version = 13
    assert rewrite(GlobalPooling(), model, IMAGES) == {"GlobalAveragePool": 1}


@pytest.mark.parametrize(("axes", "shape"), [("1, 2", "n,1,1,4"), ("0, 3", "1,3,5,1")])
def test_other_means_stay(rewrite, parse_graph, axes, shape):
    assert rewrite(GlobalPooling(), parse_graph(mean(axes, 1, shape)), IMAGES) == {"ReduceMean": 1}


@pytest.mark.parametrize(("kind", "dtype"), [("double", np.float64), ("int32", np.int32)])
def test_means_of_types_without_a_pool_stay(rewrite, parse_graph, kind, dtype):
    model = parse_graph(mean("2, 3", 1, "n,3,1,1").replace("float", kind))
    assert rewrite(GlobalPooling(), model, {"x": IMAGES["x"].astype(dtype)}) == {"ReduceMean": 1}
