from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeopt.errors import ModelError
from edgeopt.graph.session import open_session
from edgeopt.passes.stated_widths import StatedWidths

GRAPH = """g (float[b,s,8] x) => (float[b,{rows}] y)
<int64[1] one = {{1}}, int64[1] wide = {{8}}, int64[2] flat = {{-1, 8}}, float[b,s,8] v> {{
    sizes = Shape<end = 2>(x)
    three = Concat<axis = 0>(sizes, wide)
    r = Reshape(x, flat)
    m = MatMul(r, wv)
    v = Reshape(m, {shape})
    q = ReduceMean<keepdims = 1>(x, one)
    a = Attention<q_num_heads = 2, kv_num_heads = 2>(q, x, v)
    {behind}
}}"""
SQUEEZED = "c = Squeeze(a, one)  y = MatMul(c, wo)"
STRAIGHT = "y = MatMul(a, wo)"
BATCH = {"x": np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32)}
WEIGHTS = {"wv": (8, 8), "wo": (8, 3)}


def loads_bare(model):
    """Return whether onnxruntime loads the model without any value_info."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.value_info[:]
    try:
        open_session(bare.SerializeToString())
    except ModelError as error:
        assert "Incompatible dimensions" in str(error)
        return False
    return True


@pytest.mark.parametrize(("behind", "rows"), [(SQUEEZED, "3"), (STRAIGHT, "1,3")])
def test_a_product_behind_attention_loads_without_value_info(rewrite, parse_graph, behind, rows):
    model = parse_graph(GRAPH.format(shape="three", behind=behind, rows=rows), **WEIGHTS)
    assert not loads_bare(model)
    counts = rewrite(StatedWidths(), model, BATCH)
    assert counts["Reshape"] == 3 and counts["Squeeze"] == 0
    loaded = ir.from_proto(model)
    StatedWidths()(loaded)
    assert loads_bare(ir.to_proto(loaded))


def test_values_of_a_constant_shape_need_nothing(rewrite, parse_graph):
    text = GRAPH.format(shape="fixed", behind=SQUEEZED, rows="3").replace(
        "int64[2] flat", "int64[3] fixed = {-1, 5, 8}, int64[2] flat"
    )
    assert rewrite(StatedWidths(), parse_graph(text, **WEIGHTS), BATCH)["Squeeze"] == 1
