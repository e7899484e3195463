from __future__ import annotations

import numpy as np
import onnx
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from edgeopt.export.greedy_check import decode, decode_without_cache
from edgeopt.graph.session import open_session

COUNTER = """
<ir_version: 10, opset_import: ["" : 24]>
g (int64[b,s] input_ids, int64[b,t] attention_mask, float[b,1,p,1] past_key)
=> (float[b,1,9] logits, float[b,1,t,1] present_key)
<int64[1] one = {1}, int64[1] nine = {9}, int64[2] axes = {1, 3}, float[2] off_on = {0, 1}> {
    x = Cast<to = 1>(input_ids)
    fresh = Unsqueeze(x, axes)
    present_key = Concat<axis = 2>(past_key, fresh)
    masked = ReduceSum<keepdims = 1>(attention_mask, one)
    logits = OneHot<axis = -1>(masked, nine, off_on)
}
"""


def test_each_token_sees_the_prompt_and_all_tokens_before_it():
    """The graph's next token is the sum of the mask: 3 after the prompt, then one more at each step."""
    model = onnx.parser.parse_model(COUNTER)
    for values, old, new in (
        (model.graph.input, "past_key", "past_key_values.0.key"),
        (model.graph.output, "present_key", "present.0.key"),
    ):
        next(value for value in values if value.name == old).name = new
    concat = next(node for node in model.graph.node if node.op_type == "Concat")
    concat.input[0], concat.output[0] = "past_key_values.0.key", "present.0.key"
    session = open_session(model.SerializeToString())
    found = decode(session, np.array([[1, 1, 1], [2, 2, 2]]), steps=5)
    assert found.tolist() == [[3, 4, 5, 6, 7], [3, 4, 5, 6, 7]]


def test_the_reference_continues_as_transformers_does():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2, n_positions=32, bos_token_id=0, eos_token_id=None)
    model = GPT2LMHeadModel(config).eval()
    prompt = np.array([[3, 4, 5]])
    found = decode_without_cache(model, prompt, steps=6)
    expected = model.generate(torch.from_numpy(prompt), max_new_tokens=6, do_sample=False, pad_token_id=0)[:, 3:]
    assert found.tolist() == expected.tolist()
