"""Operators of language models, compared with onnxruntime on caches without positions."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from edgeopt.graph import files
from edgeopt.quantize.training.operators import OPERATORS, called, operator_of

_LENGTH, _SIZE = 5, 8


def _compared(text, **inputs):
    """Return what onnxruntime and PyTorch make of the one operator of a graph, and the operator's node."""
    proto = onnx.parser.parse_model(text)
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    exact = session.run(None, inputs)
    (node,) = files.from_proto(proto).graph
    given = [None if value is None or not value.name else torch.from_numpy(inputs[value.name]) for value in node.inputs]
    return exact, operator_of(node)(*given), node


def _random(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("window", [-1, 2])
def test_group_query_attention_of_packed_heads(interleaved, window):
    text = f"""<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>
    net (float[2, 5, 128] x, float[2, 2, 0, 16] k, float[2, 2, 0, 16] v, int32[2] n, int32[1] all, float[9, 8] c, float[9, 8] s)
    => (float[2, 5, 64] y, float[2, 2, 5, 16] pk, float[2, 2, 5, 16] pv) {{
      y, pk, pv = com.microsoft.GroupQueryAttention <num_heads = 4, kv_num_heads = 2, do_rotary = 1,
        rotary_interleaved = {interleaved}, local_window_size = {window}> (x, , , k, v, n, all, c, s)
    }}"""
    empty = np.zeros((2, 2, 0, 16), np.float32)
    angles = _random(9, 8)
    last = np.full(2, _LENGTH - 1, np.int32)
    exact, made, _ = _compared(
        text,
        x=_random(2, _LENGTH, 128),
        k=empty,
        v=empty,
        n=last,
        all=np.array([_LENGTH], np.int32),
        c=np.cos(angles),
        s=np.sin(angles),
    )
    for ours, theirs in zip(made, exact, strict=True):
        assert np.abs(ours.numpy() - theirs).max() < 1e-5


def test_a_sum_is_normalized_and_returned():
    text = """<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>
    net (float[1, 5, 8] x, float[1, 5, 8] r, float[8] w) => (float[1, 5, 8] y, float[1, 5, 8] t) {
      y, , , t = com.microsoft.SkipSimplifiedLayerNormalization <epsilon = 0.001> (x, r, w)
    }"""
    exact, made, node = _compared(text, x=_random(1, _LENGTH, _SIZE), r=_random(1, _SIZE - 3, _SIZE), w=_random(_SIZE))
    assert called(node) == "com.microsoft.SkipSimplifiedLayerNormalization"
    assert np.abs(made[0].numpy() - exact[0]).max() < 1e-5
    assert np.abs(made[3].numpy() - exact[1]).max() < 1e-6


@pytest.mark.parametrize("interleaved", [0, 1])
def test_heads_side_by_side_are_turned_by_their_angles(interleaved):
    text = f"""<ir_version: 11, opset_import: ["" : 23]>
    net (float[2, 5, 16] x, float[2, 5, 4] c, float[2, 5, 4] s) => (float[2, 5, 16] y) {{
      y = RotaryEmbedding <num_heads = 2, interleaved = {interleaved}> (x, c, s)
    }}"""
    exact, made, _ = _compared(text, x=_random(2, _LENGTH, 16), c=_random(2, _LENGTH, 4), s=_random(3, _LENGTH, 4)[:2])
    assert np.abs(made.numpy() - exact[0]).max() < 1e-5


def test_attention_with_an_empty_cache_returns_keys_and_values_as_the_next_one():
    text = """<ir_version: 11, opset_import: ["" : 23]>
    net (float[1, 5, 32] q, float[1, 5, 16] k, float[1, 5, 16] v, bool[5, 5] m, float[1, 2, 0, 8] a, float[1, 2, 0, 8] b)
    => (float[1, 5, 32] y, float[1, 2, 5, 8] pk, float[1, 2, 5, 8] pv) {
      y, pk, pv = Attention <q_num_heads = 4, kv_num_heads = 2> (q, k, v, m, a, b)
    }"""
    empty = np.zeros((1, 2, 0, _SIZE), np.float32)
    mask = np.tril(np.ones((_LENGTH, _LENGTH), np.bool_))
    exact, made, _ = _compared(
        text, q=_random(1, 5, 32), k=_random(1, 5, 16), v=_random(2, 5, 16)[:1], m=mask, a=empty, b=empty
    )
    for ours, theirs in zip(made, exact, strict=True):
        assert np.abs(ours.numpy() - theirs).max() < 1e-5


@pytest.mark.parametrize("name", ["Attention", "com.microsoft.GroupQueryAttention"])
def test_a_cache_that_holds_something_cannot_be_trained_through(name):
    x, cache = torch.zeros(1, 3, 16), torch.zeros(1, 2, 4, 8)
    with pytest.raises(NotImplementedError, match="not empty"):
        OPERATORS[name](
            {"num_heads": 2, "kv_num_heads": 2, "q_num_heads": 2}, x, x, x, cache if "Group" in name else None, cache, cache
        )
