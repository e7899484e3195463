"""From logits to the next token.

In transformers' order: repetition, presence and frequency penalties → temperature → top-k → top-p → min-p → draw.
Temperature 0 is greedy: the most likely token, the first of equal ones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any

import numpy as np

from .arrays import Array
from .errors import PromptError, RunError

_REACHES = (np.float32(3.0), np.float32(6.0), np.float32(12.0), np.float32(30.0))
"""How far below the best logit tokens are looked at, in units of the temperature; beyond the last (1e-13 as likely) never."""


_COLDEST = 1e-6
"""Temperatures below count as this: quotients by less are not finite, and nothing but the best token is likely anyway."""
_NUMBER, _WHOLE = ((int, float), "a number"), ((int,), "a whole number")
_WHOLE_OR_NONE = ((int, type(None)), "a whole number")
_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"), _NUMBER),
    **dict.fromkeys(("top_k", "max_tokens"), _WHOLE),
    **dict.fromkeys(("seed", "logprobs"), _WHOLE_OR_NONE),
    "stop": ((tuple,), "texts"),
    "ignore_eos": ((bool,), "true or false"),
    "logit_bias": ((Mapping,), "a table of tokens and numbers"),
}
"""Types of the options of `Sampling`, and how a message calls them."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen, and when a text ends."""

    temperature: float = 0.0
    """0: greedy; larger: less likely tokens more often."""
    top_k: int = 0
    """Draw from the k most likely tokens; 0: from all."""
    top_p: float = 1.0
    """Draw from the most likely tokens whose probabilities sum to this."""
    min_p: float = 0.0
    """Draw from tokens at least this likely, compared with the most likely one."""
    repetition_penalty: float = 1.0
    """Divide the logits of tokens that occurred by this (https://arxiv.org/abs/1909.05858)."""
    presence_penalty: float = 0.0
    """Subtract this from the logits of tokens that the answer holds."""
    frequency_penalty: float = 0.0
    """Subtract this from the logits of tokens for each time that the answer holds them."""
    seed: int | None = None
    """Equal seeds draw equal texts on one machine; None: a random one."""
    max_tokens: int = 256
    """End after this many tokens."""
    stop: tuple[str, ...] = ()
    """End before the first of these texts."""
    ignore_eos: bool = False
    """Do not end at an end-of-text token; for measurements."""
    logprobs: int | None = None
    """Return the logarithm of each token's probability, and of this many most likely tokens."""
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Add to the logits of these tokens."""

    def __post_init__(self) -> None:
        checks = (
            ("temperature", self.temperature, 0.0 <= self.temperature <= 100.0, "from 0 to 100"),
            ("top_k", self.top_k, self.top_k >= 0, "0 or more"),
            ("top_p", self.top_p, 0.0 < self.top_p <= 1.0, "above 0 and at most 1"),
            ("min_p", self.min_p, 0.0 <= self.min_p <= 1.0, "from 0 to 1"),
            ("repetition_penalty", self.repetition_penalty, 0.0 < self.repetition_penalty < math.inf, "above 0"),
            ("presence_penalty", self.presence_penalty, -10.0 <= self.presence_penalty <= 10.0, "from -10 to 10"),
            ("frequency_penalty", self.frequency_penalty, -10.0 <= self.frequency_penalty <= 10.0, "from -10 to 10"),
            ("max_tokens", self.max_tokens, self.max_tokens >= 1, "1 or more"),
            ("logprobs", self.logprobs, self.logprobs is None or 0 <= self.logprobs <= 20, "from 0 to 20"),
            ("seed", self.seed, self.seed is None or self.seed >= 0, "0 or more"),
            ("stop", self.stop, all(self.stop), "texts that are not empty"),
        )
        for name, value, right, allowed in checks:
            if not right:
                raise PromptError(f"{name} is {value!r}: must be {allowed}")

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Sampling:
        """Return the options in `values`; an unknown name is an error that says the nearest one.

        Raises:
            PromptError: a name is unknown, or a value of another type or out of range.
        """
        allowed = [item.name for item in fields(cls)]
        for name in values:
            if name not in allowed:
                close = get_close_matches(name, allowed, n=1)
                hint = f" (did you mean '{close[0]}'?)" if close else ""
                raise PromptError(f"unknown sampling option '{name}'{hint}; options are: {', '.join(allowed)}")
            kinds, said = _KINDS[name]
            if not isinstance(values[name], kinds) or (isinstance(values[name], bool) and bool not in kinds):
                raise PromptError(f"{name} is {values[name]!r}, of a wrong type: must be {said}")
        biases = {"logit_bias": _biases(values["logit_bias"])} if "logit_bias" in values else {}
        return cls(**{**values, **biases})

    @property
    def plain(self) -> bool:
        """Whether logits need no change before the choice."""
        neutral = self.repetition_penalty == 1.0 and not self.presence_penalty and not self.frequency_penalty
        return neutral and not self.logit_bias


def _biases(values: Mapping[Any, Any]) -> dict[int, float]:
    try:
        return {int(token): float(bias) for token, bias in values.items()}
    except (TypeError, ValueError) as error:
        raise PromptError(f"logit_bias is {values!r}: must be a table of tokens and numbers") from error


class Sampler:
    """Chooses the tokens of one text, none of those that are `suppressed`."""

    def __init__(self, options: Sampling, prompt: list[int], suppressed: Sequence[int] = ()) -> None:
        self._options = options
        self._seen = set(prompt)
        self._counts: Counter[int] = Counter()
        self._random = np.random.default_rng(options.seed)
        self._suppressed = np.array([token for token in suppressed if token >= 0], np.int64)

    def choose(self, logits: Array, allowed: Array | None = None) -> int:
        """Return the next token.

        Args:
            logits: of all tokens, [vocabulary] float32; not changed.
            allowed: which tokens are allowed, [vocabulary] bool; None: all.

        Raises:
            RunError: a logit is NaN.
        """
        options = self._options
        if len(self._suppressed):
            logits = logits.copy()
            logits[self._suppressed[self._suppressed < len(logits)]] = -np.inf
        best = int(logits.argmax())
        if logits[best] != logits[best]:  # (argmax finds NaN before any number)
            raise RunError("the model's graph gives NaN in the place of logits")
        if options.plain:
            if allowed is None and options.temperature == 0.0:
                return best
        else:
            logits = self._penalized(logits)
        if allowed is not None:
            logits = np.where(allowed, logits, np.float32(-np.inf))
        token = int(logits.argmax()) if options.temperature == 0.0 else self._draw(logits)
        if not options.plain:
            self._seen.add(token)
            self._counts[token] += 1
        return token

    def _penalized(self, logits: Array) -> Array:
        options = self._options
        logits = logits.copy()
        if options.repetition_penalty != 1.0:
            seen = np.fromiter((token for token in self._seen if token < len(logits)), np.int64)
            scores = logits[seen]
            penalty = np.float32(options.repetition_penalty)
            logits[seen] = np.where(scores < 0, scores * penalty, scores / penalty)
        for token, count in self._counts.items():
            logits[token] -= np.float32(options.presence_penalty + count * options.frequency_penalty)
        for token, bias in options.logit_bias.items():
            if 0 <= token < len(logits):
                logits[token] += np.float32(bias)
        return logits

    def _draw(self, logits: Array) -> int:
        tokens, probabilities = distribution(logits, self._options)
        reached = np.cumsum(probabilities)
        place = int(np.searchsorted(reached, self._random.random() * reached[-1], side="right"))
        return int(tokens[min(place, len(tokens) - 1)])


def distribution(logits: Array, options: Sampling) -> tuple[Array, Array]:
    """Return the tokens that may be drawn and their probabilities [tokens] float64; most likely first where top-p is used.

    Sorting or partitioning a whole vocabulary takes longer than all else, so only tokens within reach of the best are looked
    at, and the reach grows until what top-k or top-p asks for is certainly inside.
    """
    temperature = max(options.temperature, _COLDEST)
    best, heat = logits.max(), np.float32(temperature)
    if 0 < options.top_k < len(logits):
        tokens = _most_likely(logits, best, heat, options.top_k)
    elif options.top_p < 1.0:
        tokens = _nucleus(logits, best, heat, options.top_p)
    else:
        tokens = np.flatnonzero(logits >= best - _REACHES[-1] * heat)
    probabilities = np.exp((logits[tokens].astype(np.float64) - best) / temperature)
    if options.top_p < 1.0:
        order = np.argsort(-probabilities, kind="stable")
        tokens, probabilities = tokens[order], probabilities[order]
        whole = probabilities.sum() if options.top_k else _weight(logits, best, heat)
        kept = np.cumsum(probabilities) - probabilities < options.top_p * whole
        tokens, probabilities = tokens[kept], probabilities[kept]
    if options.min_p > 0.0:
        kept = probabilities >= options.min_p * probabilities.max()
        tokens, probabilities = tokens[kept], probabilities[kept]
    return tokens, probabilities / probabilities.sum()


def _most_likely(logits: Array, best: Any, heat: Any, count: int) -> Array:
    """Return the `count` most likely tokens, and those equal to the last of them, as in transformers."""
    for reach in _REACHES:
        tokens = np.flatnonzero(logits >= best - reach * heat)
        if len(tokens) >= count:
            values = logits[tokens]
            return np.asarray(tokens[values >= np.partition(values, len(values) - count)[len(values) - count]])
    return tokens


def _nucleus(logits: Array, best: Any, heat: Any, share: float) -> Array:
    """Return tokens that certainly hold the most likely ones whose probabilities sum to `share`."""
    whole = _weight(logits, best, heat)
    for reach in _REACHES:
        tokens = np.flatnonzero(logits >= best - reach * heat)
        if np.exp((logits[tokens] - best) / heat).sum(dtype=np.float64) > share * whole * (1 + 1e-5):
            break
    return tokens


def _weight(logits: Array, best: Any, heat: Any) -> float:
    """Return the sum of all probabilities, as a multiple of the best one's."""
    return float(np.exp((logits - best) / heat).sum(dtype=np.float64))


def log_probabilities(logits: Array) -> Array:
    """Return the logarithms of the probabilities, [..., vocabulary] float32."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
