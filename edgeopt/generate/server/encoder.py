"""A text encoder: texts to vectors, for ``/v1/embeddings``."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeopt.batches import Array
from edgeopt.errors import ModelError
from edgeopt.generate.engine.description import find_model
from edgeopt.generate.engine.errors import PromptError
from edgeopt.generate.engine.session import open_session, running
from edgeopt.generate.engine.tokens import Tokens
from edgeopt.generate.faults import engine_errors

_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
_BATCH = 16
_UNLIMITED = 1 << 30
_EMBEDDINGS = ("sentence_embedding", "text_embeds", "pooled", "last_hidden_state")
"""Names of outputs, the best first."""
_SCORES = {"logits", "scores", "start_logits", "end_logits", "probabilities"}
"""Names of outputs that are no vectors of a text."""


class Encoder:
    """A text encoder that edgeopt exported: one vector per text, of length 1."""

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        with engine_errors():
            self.model = find_model(path)
            self.tokens = Tokens(self.model.parent / "tokenizer.json")
            self._session = open_session(self.model, threads=threads)
        self._inputs = [value.name for value in self._session.get_inputs()]
        outputs = [value.name for value in self._session.get_outputs()]
        if not set(self._inputs) <= _INPUTS or "input_ids" not in self._inputs:
            raise ModelError(f"{self.model}: takes {', '.join(self._inputs[:5])}: neither a language model nor a text encoder")
        self._output = next((name for name in _EMBEDDINGS if name in outputs), next(iter(outputs)))
        if self._output in _SCORES:
            raise ModelError(f"{self.model}: its output '{self._output}' holds scores of classes: it is not a text encoder")
        self.longest = _longest(self.model.parent)
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> tuple[Array, int]:
        """Return the vectors [texts, size] float32 and the number of tokens.

        Raises:
            PromptError: a text is longer than the model takes.
        """
        ids = [self.tokens.encode(text) for text in texts]
        for place, tokens in enumerate(ids):
            if len(tokens) > self.longest:
                raise PromptError(f"input {place} has {len(tokens)} tokens, the model takes at most {self.longest}")
        order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
        vectors: dict[int, Array] = {}
        for start in range(0, len(order), _BATCH):
            part = order[start : start + _BATCH]
            vectors.update(zip(part, self._run([ids[index] for index in part]), strict=True))
        return np.stack([vectors[index] for index in range(len(ids))]), sum(map(len, ids))

    def _run(self, ids: list[list[int]]) -> Array:
        longest = max(1, *map(len, ids)) if ids else 1
        tokens = np.zeros((len(ids), longest), np.int64)
        mask = np.zeros_like(tokens)
        for row, values in enumerate(ids):
            tokens[row, : len(values)] = values
            mask[row, : len(values)] = 1
        feeds = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
        with self._lock, running(self.model):
            made = np.asarray(self._session.run([self._output], {name: feeds[name] for name in self._inputs})[0], np.float32)
        if made.ndim == 3:  # the mean over the tokens of each text
            weights = mask[:, :, None].astype(np.float32)
            made = (made * weights).sum(1) / np.maximum(weights.sum(1), 1)
        return np.asarray(made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-12))


def _longest(folder: Path) -> int:
    """Return how many tokens a text may have: RoBERTa has two positions more than tokens, as its tokenizer's file says."""
    found = [_UNLIMITED]
    for name, key in (("config.json", "max_position_embeddings"), ("tokenizer_config.json", "model_max_length")):
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, ArithmeticError, LookupError, RecursionError):
            found.append(int(json.loads((folder / name).read_text(encoding="utf-8"))[key]))
    return min(size for size in found if size > 0)
