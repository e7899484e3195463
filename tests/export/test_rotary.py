from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from edgeopt.export import export
from edgeopt.export.greedy_check import decode
from edgeopt.export.rotary import beyond, rotary_for_export

LIMIT = 16
SMALL = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": LIMIT,
    "eos_token_id": None,
}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 3.7}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "short_factor": [1.0, 1.1, 1.2, 1.3],
    "long_factor": [1.5, 2.5, 4.0, 6.0],
    "original_max_position_embeddings": LIMIT,
}
KINDS = {"dynamic": DYNAMIC, "longrope": LONG}


def llama(kind):
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SMALL, rope_parameters=KINDS[kind]))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.normal_(std=weight.shape[1] ** -0.5)
    return model.eval()


@pytest.fixture(scope="module", params=sorted(KINDS))
def exported(request, tmp_path_factory, target):
    result = export(llama(request.param), None, target=target, output=tmp_path_factory.mktemp(request.param))
    return request.param, result


def whole(session, ids):
    """Run a text through the graph at once, with an empty cache."""
    positions = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": positions}
    for value in session.get_inputs():
        if value.name.startswith("past_"):
            given[value.name] = np.zeros((len(ids), value.shape[1], 0, value.shape[3]), np.float32)
    return session.run(["logits"], given)[0]


@pytest.mark.parametrize("length", [1, LIMIT - 1, LIMIT, LIMIT + 1, 2 * LIMIT, 5 * LIMIT])
def test_texts_short_and_long_give_the_logits_of_pytorch_without_a_cache(exported, length):
    kind, result = exported
    ids = np.random.default_rng(length).integers(0, 60, (2, length))
    with torch.no_grad():
        expected = llama(kind)(torch.from_numpy(ids), use_cache=False).logits.numpy()
    found = whole(ort.InferenceSession(result.path), ids)
    error = np.abs(found - expected).max() / np.abs(expected).max()
    assert error < 1e-5, error


def test_a_text_that_grows_past_the_limit_is_that_of_transformers_with_its_cache(exported):
    kind, result = exported
    prompt = np.array([[3, 5, 7, 11]])
    options = {"max_new_tokens": 30, "do_sample": False, "pad_token_id": 0}
    expected = llama(kind).generate(torch.from_numpy(prompt), **options)[:, 4:].numpy()
    assert decode(ort.InferenceSession(result.path), prompt, steps=30).tolist() == expected.tolist()


def test_one_of_the_compared_samples_lies_beyond_the_limit_and_nothing_branches(exported):
    _, result = exported
    assert not {"If", "Loop"} & set(result.op_counts)
    assert len(result.parity.shapes) >= 3 and result.parity.relative_error < 1e-5
    batch = {"position_ids": np.array([[0, 1]])}
    assert [found["position_ids"].tolist() for found in beyond(llama("dynamic"), batch)] == [[[LIMIT, LIMIT + 1]]]
    assert beyond(torch.nn.Linear(1, 1), batch) == beyond(llama("dynamic"), {"input_ids": np.array([[1]])}) == []


def test_pytorch_forgets_longer_texts_meanwhile_and_remembers_them_afterwards():
    model = llama("dynamic")
    embedding = model.model.rotary_emb
    x, long, middle = torch.ones(1), torch.arange(64)[None], torch.arange(32)[None]
    fresh = llama("dynamic").model.rotary_emb(x, middle)[0]
    embedding(x, long)
    remembered = embedding(x, middle)[0]
    assert not torch.equal(remembered, fresh)
    with rotary_for_export(model):
        embedding(x, long)
        assert torch.equal(embedding(x, middle)[0], fresh)
    assert torch.equal(embedding(x, middle)[0], remembered) and "forward" not in vars(embedding)
