from __future__ import annotations

import numpy as np

from edgeopt.graph.cached_decoder import read_text
from edgeopt.graph.session import open_model
from edgeopt.quantize.language.own_text import write_own_text


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
