"""Text as a decoder reads it: token windows, cut from a text file by the tokenizer beside the model.

Perplexity is exp(mean −log p(token | those before it in its window)); the divergence KL(exact ‖ made) and the share of equal
first choices are means over the same positions. Logits are looked at window by window: memory does not grow with the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
from numpy.typing import NDArray

from edgeopt import progress
from edgeopt.data.text import virtual_ids
from edgeopt.documents import read_text
from edgeopt.errors import DataError
from edgeopt.extras import need
from edgeopt.graph.cached_decoder import not_run
from edgeopt.graph.generation import Generation
from edgeopt.graph.session import SessionConfig, open_model

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Tokens = NDArray[np.int64]
WINDOW = 256
_PROMPTS = (
    "The capital of France is",
    "Once upon a time, there was a little",
    "In the year 1912, the ship",
    "To make bread, you need flour, water,",
    "The study found that people who",
    "def main():\n    ",
    "Question: Why is the sky blue?\nAnswer:",
    "1, 2, 3, 4,",
)


@dataclass(frozen=True)
class Windows:
    """A text that is tokens already."""

    name: str
    windows: list[Tokens]


def _tokenized(text: str, tokenizer: Tokenizer) -> Tokens:
    """Return the token ids of a text, without special tokens."""
    return np.asarray(tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int64)


def _tokenizer(folder: Path) -> Tokenizer:
    """Return the tokenizer in `folder`.

    Raises:
        DataError: there is no tokenizer, or it cannot be read.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise DataError(f"{path}: missing; text needs the model's tokenizer beside it (copy it from the transformers folder)")
    need("tokenizers", purpose="reading text")
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # (its errors share no base but Exception)
        raise DataError(f"{path}: not a tokenizer that can be read: {' '.join(str(error).split())[:200]}") from error
    return tokenizer


def read_windows(path: Path, folder: Path, *, length: int = WINDOW) -> list[Tokens]:
    """Return the text file at `path` as windows of `length` tokens, the model's virtual tokens in front of each included.

    Raises:
        DataError: the file is missing, or too short for one window.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such text file; give plain text (UTF-8), which is cut into windows of {length} tokens")
    text, tokenizer = read_text(path, error=DataError, what="a text"), _tokenizer(folder)
    tokens, virtual = _tokenized(text, tokenizer), np.array(virtual_ids(tokenizer), np.int64)
    length -= len(virtual)
    if len(tokens) < length:
        raise DataError(f"{path}: {len(tokens)} tokens; give a text of {length} at least, better of {32 * length}")
    count = len(tokens) // length
    return [np.concatenate([virtual, window]) for window in tokens[: count * length].reshape(count, length)]


def spread(windows: list[Tokens], count: int) -> list[Tokens]:
    """Return at most `count` of the windows, evenly over the text."""
    if len(windows) <= count:
        return windows
    return [windows[int(place)] for place in np.linspace(0, len(windows) - 1, count)]


def own_prompts(folder: Path, vocabulary: int) -> list[Tokens]:
    """Return prompts for a model without text: a few beginnings, or random tokens where no tokenizer gives ones it knows."""
    if (folder / "tokenizer.json").is_file():
        tokenizer = _tokenizer(folder)
        virtual = np.array(virtual_ids(tokenizer), np.int64)
        made = [np.concatenate([virtual, _tokenized(text, tokenizer)]) for text in _PROMPTS]
        if known := [tokens for tokens in made if len(tokens) and tokens.max() < vocabulary]:
            return known
    rng = np.random.default_rng(0)
    return [rng.integers(min(5, vocabulary - 1), vocabulary, 8) for _ in _PROMPTS]


def feeds(facts: Generation, tokens: Tokens, places: Tokens | None = None) -> dict[str, NDArray[np.generic]]:
    """Return a decoder's inputs for windows of the same length, [windows, length], and an empty cache.

    Args:
        facts: of the decoder.
        tokens: the windows.
        places: positions that get logits; None: all.
    """
    names, (count, length) = facts.inputs, tokens.shape
    given: dict[str, NDArray[np.generic]] = {names.tokens: tokens, names.mask: np.ones((count, length), np.int64)}
    if names.positions is not None:
        given[names.positions] = np.tile(np.arange(length, dtype=np.int64), (count, 1))
    if names.asked is not None:
        given[names.asked] = np.arange(length, dtype=np.int64) if places is None else places
    kind = np.float16 if facts.cache_type == "float16" else np.float32
    empty = np.zeros((count, facts.kv_heads, 0, facts.head_size), kind)
    return given | {name % layer: empty for name in (names.past_key, names.past_value) for layer in range(facts.layers)}


class Reader:
    """A decoder that reads whole windows."""

    def __init__(self, model: ir.Model, facts: Generation, *, threads: int = 1) -> None:
        self._session: ort.InferenceSession = open_model(model, config=SessionConfig(threads=threads))
        self._facts = facts
        self.suppressed = facts.suppress

    def __call__(self, tokens: Tokens, places: Tokens | None = None) -> NDArray[np.float32]:
        """Return the logits [places, vocabulary] of a window.

        Raises:
            ModelError: the graph fails.
        """
        try:
            logits = self._session.run([self._facts.outputs.logits], feeds(self._facts, tokens[None], places))[0][0]
        except Exception as error:  # (its exception classes share no base but Exception)
            raise not_run(error, len(tokens)) from error
        if self._facts.inputs.asked is None and places is not None:
            logits = logits[places]
        return np.asarray(logits, dtype=np.float32)


@dataclass(frozen=True)
class Likelihood:
    """What two models make of the same text."""

    tokens: int
    before: float
    """Perplexity of the floating-point model."""
    after: float
    kl: float
    agreement: float

    @property
    def increase(self) -> float:
        """By how much the perplexity is higher, as a share."""
        return self.after / self.before - 1


def compare(exact: Reader, made: Reader, windows: list[Tokens]) -> Likelihood:
    """Return perplexities, divergence and agreement of two models over windows."""
    sums = np.zeros(4)
    count = 0
    with progress.task("perplexity", total=len(windows)) as advance:
        for tokens in windows:
            places = np.flatnonzero(~np.isin(tokens[1:], exact.suppressed))
            sums += likelihoods(exact(tokens, places), made(tokens, places), tokens[places + 1])
            count += len(places)
            advance()
    means = sums / max(1, count)
    return Likelihood(count, float(np.exp(-means[0])), float(np.exp(-means[1])), float(means[2]), float(means[3]))


def likelihoods(exact: NDArray[np.float32], made: NDArray[np.float32], following: Tokens) -> NDArray[np.float64]:
    """Return sums over positions: log p of the token by both models, KL(exact ‖ made), and equal first choices."""
    p, q = log_softmax(exact), log_softmax(made)
    rows = np.arange(len(following))
    same = (p.argmax(-1) == q.argmax(-1)).sum()
    divergence = (np.exp(p) * (p - q)).sum(dtype=np.float64)
    return np.array([p[rows, following].sum(), q[rows, following].sum(), divergence, same], dtype=np.float64)


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return log(softmax) along the last axis."""
    shifted = logits - logits.max(-1, keepdims=True)
    made: NDArray[np.float32] = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True, dtype=np.float64)).astype(np.float32)
    return made
