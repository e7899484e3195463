from __future__ import annotations

import json

import numpy as np

from edgeopt.graph.cached_decoder import read_text
from edgeopt.graph.session import open_model
from edgeopt.quantize.language.own_text import find_separator, write_own_text


def test_windows_are_drawn_from_the_models_distribution(decoder):
    model, facts = decoder
    session = open_model(model)
    windows = write_own_text(session, facts, count=18)
    assert [len(tokens) for tokens in windows] == [facts.context] * 18
    tokens = np.stack(windows)
    assert 0 <= tokens.min() < tokens.max() < facts.vocabulary
    logits = [read_text(session, facts, row[:20], prompt=20) for row in windows]
    places = np.arange(19)
    own = float(np.mean([scores[places, row[1:20]] for scores, row in zip(logits, windows, strict=True)]))
    others = float(np.mean([scores[places] for scores in logits]))
    assert own > others + 0.1, "tokens that the model finds likely are drawn more often"
    assert all(np.array_equal(*pair) for pair in zip(windows[:2], write_own_text(session, facts, count=18)[:2], strict=True))


def test_windows_begin_with_the_token_between_documents(decoder, tmp_path):
    model, facts = decoder
    assert find_separator(tmp_path, facts.model_copy(update={"bos": None})) is None
    assert find_separator(tmp_path, facts.model_copy(update={"bos": 7})) == 7
    added = [{"id": 3, "content": "<|im_end|>"}, {"id": 9, "content": "<|endoftext|>"}]
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": added}))
    assert find_separator(tmp_path, facts) == 9
    assert find_separator(tmp_path, facts.model_copy(update={"vocabulary": 9, "bos": 1})) is None
    windows = write_own_text(open_model(model), facts, count=3, first=9)
    assert [row[0] == 9 for row in windows] == [True, False, True]
    assert not np.array_equal(windows[0], windows[2])
