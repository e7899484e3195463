"""The growing cache: prompts in parts, ragged rows as one batch, rewinding; compared with the whole text in an empty cache."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.generate.engine.arrays import Array
from edgeopt.generate.engine.engine import Engine
from edgeopt.generate.engine.errors import PromptError
from edgeopt.generate.engine.growing_cache import GrowingCache


@pytest.fixture
def cache(engine: Engine) -> GrowingCache:
    return GrowingCache(engine.session, engine.described, rows=4)


def near(have: Array, want: Array) -> bool:
    error = float(np.abs(have - want).max() / np.abs(want).max())
    assert error < 1e-4, f"largest error {error:.2e} of the largest logit"
    return True


def test_a_prompt_longer_than_a_part(cache: GrowingCache, engine: Engine) -> None:
    tokens = [index * 7 % 400 for index in range(300)]
    whole = engine.logits(tokens)
    assert whole.shape == (300, 400)
    assert near(cache.extend(2, tokens[:290], want=5), whole[285:290])
    assert near(cache.extend(2, tokens[290:], want=1), whole[299:])
    assert cache.lengths == [0, 0, 300, 0]


def test_ragged_rows_step_together(cache: GrowingCache, engine: Engine) -> None:
    texts = [[10, 20, 30], [40], [50, 60, 70, 80, 90]]
    for row, text in enumerate(texts):
        cache.extend(row, text)
    for new in ([11, 12, 13], [14, 15, 16]):
        logits = cache.step(new)
        for row, text in enumerate(texts):
            text.append(new[row])
            assert near(logits[row], engine.logits(text)[-1])
    cache.swap(0, 2)
    cache.rewind(0, 4)
    assert near(cache.extend(0, [99])[0], engine.logits([*texts[2][:4], 99])[-1])
    assert near(cache.step([5, 6])[1], engine.logits([*texts[1], 6])[-1])
    cache.copy(1, 3, 2)
    assert near(cache.extend(3, [7])[0], engine.logits([*texts[1][:2], 7])[-1])
    assert cache.lengths == [6, 4, 5, 3]


def test_a_text_longer_than_the_context_is_refused(cache: GrowingCache) -> None:
    with pytest.raises(PromptError, match="513 tokens: the model's context is 512"):
        cache.extend(0, [1] * 513)
