"""Language models side by side on a text: perplexity, and how far each is from the first (KL divergence, agreement).

The text is cut into windows without overlap; in each, every token but the first is predicted from those before it (and from
the virtual tokens of a model that has some).

    perplexity   exp(mean of −log p(token))
    KL           mean over positions of Σ p_first · log(p_first / p), in nats: what quantization changed, whatever the text says
    agreement    share of positions with the same most likely token

The models run in lockstep, a part of a window at a time, so that no more than a part's logits are in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeopt import progress
from edgeopt.batches import Array
from edgeopt.errors import DataError
from edgeopt.evaluate.opened import named
from edgeopt.generate.engine.engine import Engine
from edgeopt.generate.engine.sampling import log_probabilities
from edgeopt.generate.faults import engine_errors
from edgeopt.generate.opening import open_engine
from edgeopt.tasks.comparison import bounds, paired
from edgeopt.tasks.language_model import PERPLEXITY
from edgeopt.tasks.metric import Measured, of_sums
from edgeopt.tasks.paired import Paired

WINDOW = 512
_PART = 64


@dataclass(frozen=True)
class LanguageScore:
    """How well one model predicts the text."""

    name: str
    metric: str
    value: float
    low: float
    """Lower end of the interval of the value, from windows drawn again."""
    high: float
    """Upper end."""
    paired: Paired | None
    """Difference of the perplexity from the first model's, window by window; none: this is the first."""
    model: str
    perplexity: float
    perplexity_increase: float | None
    """Share by which the perplexity is above the first model's; none: this is the first."""
    kl: float | None
    """Mean KL divergence from the first model, in nats per token."""
    agreement: float
    """Share of tokens with the first model's most likely token; 1 for the first."""


@dataclass(frozen=True)
class LanguageEvaluation:
    """Models on one text."""

    text: str
    tokens: int
    """Predicted tokens."""
    windows: int
    models: tuple[LanguageScore, ...]


class _Tally:
    """Sums of one model over the tokens; of the loss for each window."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.kl = 0.0
        self.same = 0

    def add(self, logs: Array, first: Array, tokens: Array) -> None:
        """Add a part: log-probabilities of this model and of the first, [positions, vocabulary], and the next tokens."""
        self.losses[-1] -= float(logs[np.arange(len(tokens)), tokens].sum(dtype=np.float64))
        self.kl += float((np.exp(first) * (first - logs)).sum(dtype=np.float64)) if logs is not first else 0.0
        self.same += int((logs.argmax(-1) == first.argmax(-1)).sum())


def evaluate_language(
    models: Sequence[Path],
    text: Path,
    *,
    windows: int | None = None,
    window: int = WINDOW,
    threads: int | None = None,
    confidence: float = 0.95,
) -> LanguageEvaluation:
    """Return perplexities, and distances from the first model.

    Args:
        models: folders or ONNX files of language models with the same tokenizer.
        text: a text file.
        windows: use at most this many windows; None: all.
        window: tokens of a window, at most the context of every model.
        threads: of onnxruntime; None: one per core.
        confidence: of the intervals.

    Raises:
        ModelError: a model does not generate.
        DataError: the text is too short or cannot be read, or the models cut it into other tokens.
    """
    engines = [open_engine(path, threads=threads) for path in models]
    tokens = _tokens(engines, models, text)
    size = min([window, *(engine.described.context - len(engine.virtual) for engine in engines)])
    parts = [tokens[start : start + size] for start in range(0, len(tokens), size)]
    parts = [part for part in parts if len(part) > 1][:windows]
    tallies = [_Tally() for _ in engines]
    with progress.task("predict", total=len(parts)) as advance, engine_errors():
        for part in parts:
            for tally in tallies:
                tally.losses.append(0.0)
            for wanted, logits in _lockstep(engines, part):
                logs = [log_probabilities(one) for one in logits]
                for tally, one in zip(tallies, logs, strict=True):
                    tally.add(one, logs[0], wanted)
            advance()
    counts = [len(part) - 1 for part in parts]
    names = named([str(path) for path in models])
    scores: list[LanguageScore] = []
    measured = [_measured(tally.losses, counts) for tally in tallies]
    for place, (path, tally, own) in enumerate(zip(models, tallies, measured, strict=True)):
        low, high = bounds(own.drawn, confidence)
        changed = sum(counts) - tally.same
        scores.append(
            LanguageScore(
                name=names[place],
                metric=PERPLEXITY.name,
                value=own.value,
                low=low,
                high=high,
                paired=paired(measured[0], own, changed=changed, confidence=confidence) if place else None,
                model=str(path),
                perplexity=own.value,
                perplexity_increase=own.value / scores[0].value - 1 if place else None,
                kl=tally.kl / sum(counts) if place else None,
                agreement=tally.same / sum(counts),
            )
        )
    return LanguageEvaluation(text.name, sum(counts), len(parts), tuple(scores))


def _measured(losses: Sequence[float], counts: Sequence[int]) -> Measured:
    """Return the perplexity as a metric of windows."""
    rows = np.array([losses, counts], np.float64).T
    return of_sums(PERPLEXITY, rows, lambda sums: _perplexity(float(sums[0]), sums[1]))


def _perplexity(loss: float, count: float) -> float:
    """Return exp(loss / count); infinity where that is no float64, as for a model that is broken."""
    try:
        return math.exp(loss / count)
    except OverflowError:
        return math.inf


def _tokens(engines: Sequence[Engine], models: Sequence[Path], text: Path) -> list[int]:
    """Return the tokens of the text, which must be the same for every model."""
    try:
        content = text.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{text}: cannot be read as a text file: {error}") from error
    with engine_errors():
        found = [engine.tokens.encode(content, special=False) for engine in engines]
    for path, tokens in zip(models, found, strict=True):
        if tokens != found[0]:
            raise DataError(f"{path}: cuts the text into other tokens than {models[0]}, so they cannot be compared")
    if len(found[0]) < 2:
        raise DataError(f"{text}: holds {len(found[0])} tokens; at least 2 are needed")
    return found[0]


def _lockstep(engines: Sequence[Engine], tokens: list[int]) -> Iterator[tuple[Array, list[Array]]]:
    """Yield the tokens of each part of a window, and every model's logits for them, [part, vocabulary]."""
    prefixes = [engine.virtual for engine in engines]
    caches = [engine.cache(1, len(prefix) + len(tokens)) for engine, prefix in zip(engines, prefixes, strict=True)]
    vocabulary = min(engine.vocabulary for engine in engines)
    for cache, prefix in zip(caches, prefixes, strict=True):
        if prefix:
            cache.extend(0, prefix)
    for start in range(0, len(tokens) - 1, _PART):
        part = tokens[start : min(start + _PART, len(tokens) - 1)]
        wanted = np.array(tokens[start + 1 : start + 1 + len(part)])
        yield wanted, [cache.extend(0, part, want=len(part))[:, :vocabulary] for cache in caches]
