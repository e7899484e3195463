"""Text that a language model writes itself, to calibrate on where no other text is given.

Windows begin with a random token and go on with tokens drawn from the model's own distribution at temperature 1, so that they
hold what the model has learned in about the shares in which it learned it (Liu et al., LLM-QAT, https://arxiv.org/abs/2305.17888,
section 3.1; Williams et al., https://arxiv.org/abs/2410.17170). Rows are decoded as one batch.
"""

from __future__ import annotations

import numpy as np
import onnxruntime as ort

from edgeopt import progress
from edgeopt.graph.cached_decoder import CachedDecoder
from edgeopt.graph.generation import Generation
from edgeopt.quantize.language.text import WINDOW, Tokens

_ROOM = 1 << 29
"""Bytes of the cache of one batch."""
_ROWS = 16


def write_own_text(session: ort.InferenceSession, facts: Generation, *, count: int, seed: int = 0) -> list[Tokens]:
    """Return `count` windows of 256 tokens, or of the model's context where that is shorter."""
    length = min(WINDOW, facts.context)
    rows = max(1, min(_ROWS, _ROOM // (8 * facts.layers * facts.kv_heads * facts.head_size * length)))
    random = np.random.default_rng(seed)
    made: list[Tokens] = []
    with progress.task("text that the model writes", total=count) as advance:
        while len(made) < count:
            batch = _write(session, facts, min(rows, count - len(made)), length, random)
            made += list(batch)
            advance(len(batch))
    return made


def _write(session: ort.InferenceSession, facts: Generation, rows: int, length: int, random: np.random.Generator) -> Tokens:
    """Return [rows, length] tokens."""
    decoder = CachedDecoder(session, facts, length, rows=rows)
    text = np.empty((rows, length), np.int64)
    text[:, 0] = random.integers(0, facts.vocabulary, rows)
    for place in range(1, length):
        logits = decoder.read_rows(text[:, place - 1 : place])[:, -1]
        text[:, place] = (logits + random.gumbel(size=logits.shape)).argmax(-1)  # (a draw from the softmax)
    return text
