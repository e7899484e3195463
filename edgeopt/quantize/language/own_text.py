"""Text that a language model writes itself, to calibrate on where no other text is given.

Windows go on with tokens drawn from the model's own distribution at temperature 1, so that they hold what the model has learned
in about the shares in which it learned it (Liu et al., LLM-QAT, https://arxiv.org/abs/2305.17888, section 3.1; Williams et al.,
https://arxiv.org/abs/2410.17170). Every second one begins with the token that stood between documents in its training, where it
is known, the others with a random token: both kinds together lose less than either (docs/log/language-models.md). Rows are
decoded as one batch.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort

from edgeopt import progress
from edgeopt.graph.cached_decoder import CachedDecoder
from edgeopt.graph.generation import Generation
from edgeopt.quantize.language.text import WINDOW, Tokens

_ROOM = 1 << 29
"""Bytes of the cache of one batch."""
_ROWS = 16
_SEPARATOR = "<|endoftext|>"


def find_separator(folder: Path, facts: Generation) -> int | None:
    """Return the token between documents: the tokenizer's ``<|endoftext|>``, or else the token that begins a text."""
    try:
        added = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
        found = next((int(token["id"]) for token in added if token["content"] == _SEPARATOR), facts.bos)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        found = facts.bos
    return found if found is not None and 0 <= found < facts.vocabulary else None


def write_own_text(
    session: ort.InferenceSession, facts: Generation, *, count: int, first: int | None = None, seed: int = 0
) -> list[Tokens]:
    """Return `count` windows of 256 tokens, or of the model's context if that is shorter; every second begins with `first`."""
    length = min(WINDOW, facts.context)
    rows = max(1, min(_ROWS, _ROOM // (8 * facts.layers * facts.kv_heads * facts.head_size * length)))
    random = np.random.default_rng(seed)
    made: list[Tokens] = []
    with progress.task("text that the model writes", total=count) as advance:
        while len(made) < count:
            text = np.empty((min(rows, count - len(made)), length), np.int64)
            text[:, 0] = random.integers(0, facts.vocabulary, len(text))
            if first is not None:
                text[::2, 0] = first
            _write(session, facts, text, random)
            made += list(text)
            advance(len(text))
    return made


def _write(session: ort.InferenceSession, facts: Generation, text: Tokens, random: np.random.Generator) -> None:
    """Draw the tokens of `text` [rows, length] but for the first ones, in place."""
    decoder = CachedDecoder(session, facts, text.shape[1], rows=len(text))
    for place in range(1, text.shape[1]):
        logits = decoder.read_rows(text[:, place - 1 : place])[:, -1]
        text[:, place] = (logits + random.gumbel(size=logits.shape)).argmax(-1)  # (a draw from the softmax)
