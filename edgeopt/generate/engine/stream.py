"""One answer while it is made: its tokens, its text, and why it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .arrays import Array
from .constraint import Choices
from .draft import Drafter
from .sampling import Sampler, Sampling, log_probabilities
from .stopping import StopStrings
from .tokens import Detokenizer, Tokens

Reason = Literal["stop", "length", "cancelled", "time"]


@dataclass(frozen=True)
class TokenProbability:
    """The logarithm of a token's probability, and the most likely tokens in its place."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Answer:
    """A finished text, and how long it took."""

    tokens: tuple[int, ...]
    """What was generated, the end-of-text token included."""
    text: str
    reason: Reason
    """Why it ended: "stop" (end of text or a stop string), "length", "time" or "cancelled"."""
    prompt_tokens: int
    reused_tokens: int
    """How many of the prompt's tokens were in the cache already."""
    prefill_s: float
    """Seconds from the start of the work to the first token."""
    decode_s: float
    """Seconds from the first token to the last."""
    logprobs: tuple[TokenProbability, ...] = ()
    drafted: int = 0
    """Tokens that were guessed by n-gram speculation."""
    accepted: int = 0
    """Guessed tokens that were right."""

    @property
    def prefill_tokens_per_s(self) -> float:
        """Tokens of the prompt that were computed per second."""
        return (self.prompt_tokens - self.reused_tokens) / self.prefill_s if self.prefill_s > 0 else 0.0

    @property
    def decode_tokens_per_s(self) -> float:
        """Tokens after the first per second."""
        return (len(self.tokens) - 1) / self.decode_s if self.decode_s > 0 else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return what programs print of it as JSON."""
        return {
            "tokens": list(self.tokens),
            "text": self.text,
            "finish_reason": self.reason,
            "prompt_tokens": self.prompt_tokens,
            "prefill_tokens_per_s": self.prefill_tokens_per_s,
            "decode_tokens_per_s": self.decode_tokens_per_s,
        }


@dataclass
class Stream:
    """One request: made by the engine, run by the loop, read by the caller, who may be another thread."""

    prompt: list[int]
    options: Sampling
    tokens: Tokens | None
    """None: no text is made, only tokens."""
    eos: tuple[int, ...] = ()
    suppressed: tuple[int, ...] = ()
    constraint: Choices | None = None
    speculate: bool = False
    deadline: float | None = None
    """`time.perf_counter` at which it must end."""
    made: list[int] = field(default_factory=list)
    reason: Reason | None = None
    reused: int = 0
    started: float = 0.0
    first: float = 0.0
    last: float = 0.0

    def __post_init__(self) -> None:
        self._sampler = Sampler(self.options, self.prompt, self.suppressed)
        self._stop = StopStrings(self.options.stop)
        self._detokenizer = Detokenizer(self.tokens) if self.tokens is not None else None
        self._pieces: list[str] = []
        self._unread: list[int] = []
        """Tokens that are not text yet; without stop strings that can wait until the text is read."""
        self._read = 0
        self._writing = threading.Lock()
        self._probabilities: list[TokenProbability] = []
        self._limit = self.options.max_tokens
        self.drafter = Drafter(self.prompt) if self.speculate else None

    def limit(self, most: int) -> None:
        """End after `most` tokens at the latest."""
        self._limit = min(self._limit, most)

    @property
    def left(self) -> int:
        """How many tokens may still follow."""
        return self._limit - len(self.made)

    def take(self, logits: Array) -> int:
        """Choose the next token from logits [vocabulary], append it, and return it; sets `reason` at the end."""
        allowed = self.constraint.allowed() if self.constraint is not None else None
        token = self._sampler.choose(logits, allowed)
        if self.options.logprobs is not None:
            self._probabilities.append(_probability(logits, token, self.options.logprobs))
        self.receive(token)
        return token

    def receive(self, token: int) -> None:
        """Append a token that was chosen elsewhere."""
        self.made.append(token)
        self.last = time.perf_counter()
        if len(self.made) == 1:
            self.first = self.last
        if self.drafter is not None:
            self.drafter.add(token)
        self._judge(token)

    def _judge(self, token: int) -> None:
        if token in self.eos and not self.options.ignore_eos:
            self._end("stop")
            return
        complete = self.constraint.accept(token) if self.constraint is not None else False
        self._unread.append(token)
        if self.options.stop:
            self._write()
        if self._stop.found is not None:
            self.reason = "stop"
        elif complete:
            self._end("stop")
        elif len(self.made) >= self._limit:
            self._end("length")
        elif self.deadline is not None and self.last > self.deadline:
            self._end("time")

    def end(self, reason: Reason) -> None:
        """End it where it is."""
        if self.reason is None:
            self._end(reason)

    def _write(self) -> None:
        """Turn tokens into text, one thread at a time."""
        with self._writing:
            tokens, self._unread = self._unread, []
            if self._detokenizer is not None:
                for token in tokens:
                    self._say(self._stop.add(self._detokenizer.add(token)))

    def _end(self, reason: Reason) -> None:
        self._write()
        if self._detokenizer is not None:
            self._say(self._stop.add(self._detokenizer.flush()))
            if self._stop.found is None:
                self._say(self._stop.flush())
        self.reason = reason if self._stop.found is None else "stop"

    def _say(self, piece: str) -> None:
        if piece:
            self._pieces.append(piece)

    def read(self) -> str:
        """Return the text since the last call."""
        self._write()
        pieces = self._pieces[self._read :]
        self._read += len(pieces)
        return "".join(pieces)

    def answer(self) -> Answer:
        """Return the finished answer."""
        return Answer(
            tokens=tuple(self.made),
            text="".join(self._pieces),
            reason=self.reason or "cancelled",
            prompt_tokens=len(self.prompt),
            reused_tokens=self.reused,
            prefill_s=max(0.0, self.first - self.started),
            decode_s=max(0.0, self.last - self.first),
            logprobs=tuple(self._probabilities),
            drafted=self.drafter.offered if self.drafter else 0,
            accepted=self.drafter.kept if self.drafter else 0,
        )

    def probabilities(self, start: int = 0) -> Sequence[TokenProbability]:
        """Return the logarithms of probabilities from token `start` on."""
        return self._probabilities[start:]


def _probability(logits: Array, token: int, count: int) -> TokenProbability:
    values = log_probabilities(logits)
    best = values.argpartition(-count)[-count:] if count else values[:0].astype(int)
    ordered = sorted(((int(index), float(values[index])) for index in best), key=lambda pair: -pair[1])
    return TokenProbability(token, float(values[token]), tuple(ordered))
