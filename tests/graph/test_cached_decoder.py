from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgeopt.errors import ModelError
from edgeopt.graph.cached_decoder import CachedDecoder, greedy, read_text
from edgeopt.graph.generation import Generation, Inputs, Outputs
from edgeopt.graph.session import open_session

GROWING = """<ir_version: 10, opset_import: ["" : 24]>
g (int64[1,s] input_ids, int64[1,t] attention_mask, float[1,1,p,1] past_k0, float[1,1,p,1] past_v0)
=> (float[1,s,11] logits, float[1,1,t,1] present_k0, float[1,1,t,1] present_v0)
<int64[2] first = {0, 1}, int64[1] last = {2}, int64 depth = {11}, float[2] values = {0, 1}, int64 one = {1}> {
    floats = Cast<to = 1>(input_ids)
    new = Unsqueeze(floats, places)
    present_k0 = Concat<axis = 2>(past_k0, new)
    present_v0 = Concat<axis = 2>(past_v0, new)
    next = Add(input_ids, one)
    wrapped = Mod(next, depth)
    logits = OneHot(wrapped, depth, values)
}"""


@pytest.fixture
def counting():
    """Return a session that always expects the number after the last token, and keeps all tokens in its cache."""
    model = onnx.parser.parse_model(GROWING)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 3]), "places"))
    facts = Generation(
        form="portable",
        layers=1,
        heads=1,
        kv_heads=1,
        head_size=1,
        vocabulary=11,
        context=64,
        inputs=Inputs(past_key="past_k%d", past_value="past_v%d"),
        outputs=Outputs(present_key="present_k%d", present_value="present_v%d"),
    )
    return open_session(model.SerializeToString()), facts


def test_texts_are_continued_greedily_with_the_lead_of_each_choice(counting):
    session, facts = counting
    tokens, leads = greedy(session, facts, np.array([4, 8]), steps=4)
    assert tokens == [9, 10, 0, 1]
    assert leads == [1.0] * 4
    decoder = CachedDecoder(session, facts, 8)
    assert decoder.read(np.array([3, 5]))[:, [4, 6]].tolist() == [[1, 0], [0, 1]]
    assert decoder.past == 2
    assert read_text(session, facts, np.array([1, 2, 3, 4]), prompt=2).argmax(-1).tolist() == [2, 3, 4, 5]


def test_a_graph_that_fails_is_a_fault_of_the_model(counting):
    session, facts = counting
    with pytest.raises(ModelError, match=r"the decoder's graph fails on 2 tokens: "):
        CachedDecoder(session, facts, 8, rows=2).read_rows(np.ones((2, 2), np.int64))
