from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgeopt.passes.shared_cache import SharedCache

HEAD = """g (int64[b,s] input_ids, int64[b,t] attention_mask, int64[b,s] position_ids, float[b,s,128] x,
   float[b,2,p,16] past_key, float[b,2,p,16] past_value)
=> (float[b,s,64] y, float[b,2,t,16] present_key, float[b,2,t,16] present_value)
<int64[3] sizes = {64, 32, 32}, int64[1] two = {2}, int64[1] one = {1}, int64 zero = {0}, int64 unit = {1}, int64 width = {4}>
{
    q, k, v = Split<axis = -1>(x, sizes)
    places = Unsqueeze(position_ids, two)
    floats = Cast<to = 1>(places)
    angles = Mul(floats, speeds)
    cos = Cos(angles)
    sin = Sin(angles)
    q_turned = RotaryEmbedding<num_heads = 4>(q, cos, sin)
    k_turned = RotaryEmbedding<num_heads = 2>(k, cos, sin)
    mask_shape = Shape(attention_mask)
    length = Gather(mask_shape, unit)
    all = Range(zero, length, unit)
    queries = Unsqueeze(position_ids, two)
    seen = LessOrEqual(all, queries)
"""
CAUSAL = "    visible = Identity(seen)\n"
WINDOW = "    back = Sub(queries, width)  later = Greater(all, back)  visible = And(seen, later)\n"
EVERY_SECOND = "    pairs = Mod(all, width)  even = Less(pairs, unit)  visible = And(seen, even)\n"
TAIL = """    mask = Unsqueeze(visible, one)
    y, present_key, present_value = Attention<q_num_heads = 4, kv_num_heads = 2, scale = 0.25>(
        q_turned, k_turned, v, mask, past_key, past_value)
}"""


def inputs(past, new):
    rng = np.random.default_rng(past)
    drawn = {"x": (1, new, 128), "past_key": (1, 2, past, 16), "past_value": (1, 2, past, 16)}
    return {
        "input_ids": np.zeros((1, new), np.int64),
        "attention_mask": np.ones((1, past + new), np.int64),
        "position_ids": np.arange(past, past + new)[None],
        **{name: rng.normal(size=shape).astype(np.float32) for name, shape in drawn.items()},
    }


def run(model, given):
    session = ort.InferenceSession(model.SerializeToString())
    taken = {value.name for value in session.get_inputs()}
    return session.run(None, {name: array for name, array in given.items() if name in taken})


@pytest.mark.parametrize(("mask", "window"), [(CAUSAL, 0), (WINDOW, 4)], ids=["causal", "window"])
def test_packed_query_key_and_value_go_in_with_their_rotation(parse_graph, mask, window):
    model = parse_graph(HEAD + mask + TAIL, speeds=(8,))
    loaded = ir.from_proto(model)
    rewrite = SharedCache(context=32)
    rewrite(loaded)
    assert (rewrite.count, rewrite.reason, rewrite.window) == (1, "", window)
    made = next(node for node in loaded.graph if node.op_type == "GroupQueryAttention")
    assert made.inputs[0] is loaded.graph.inputs[3]
    assert made.inputs[1] is made.inputs[2] is None
    changed = ir.to_proto(loaded)
    for past, new in ((0, 9), (6, 1), (12, 1)):
        for expected, found in zip(run(model, inputs(past, new)), run(changed, inputs(past, new)), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_mask_of_another_kind_is_left_to_attention(parse_graph):
    loaded = ir.from_proto(parse_graph(HEAD + EVERY_SECOND + TAIL, speeds=(8,)))
    rewrite = SharedCache(context=32)
    assert not rewrite(loaded).modified
    assert "more than causal" in rewrite.reason


def test_angles_that_depend_on_the_length_are_applied_before_the_kernel(parse_graph):
    text = HEAD.replace(
        "angles = Mul(floats, speeds)", "total = Cast<to = 1>(length)  far = Mul(floats, total)  angles = Mul(far, speeds)"
    )
    lines = text.splitlines()
    moved = [line for line in lines if "mask_shape =" in line or "length = Gather" in line]
    lines = [line for line in lines if line not in moved]
    split = next(index for index, line in enumerate(lines) if "q, k, v" in line)
    model = parse_graph("\n".join([*lines[:split], *moved, *lines[split:]]) + "\n" + CAUSAL + TAIL, speeds=(8,))
    loaded = ir.from_proto(model)
    assert SharedCache(context=32)(loaded).modified
    assert sum(node.op_type == "RotaryEmbedding" for node in loaded.graph) == 2
    changed = ir.to_proto(loaded)
    for expected, found in zip(run(model, inputs(3, 2)), run(changed, inputs(3, 2)), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_graph_without_a_cache_says_so(parse_graph):
    loaded = ir.from_proto(parse_graph("g (float[b,s,8] x) => (float[b,s,8] y) { y = Relu(x) }"))
    rewrite = SharedCache(context=8)
    assert not rewrite(loaded).modified
    assert rewrite.reason
