"""The decode loop: several texts as one batch, which join and leave at any token.

    rows of the cache    0 … n−1   texts that are decoded, one token each per step
                         n         a text whose prompt is being read, if there is one
                         above     what ended texts left: the beginning of a new prompt may be there already

A step reads one part of a waiting prompt, then decodes one token in every row; so a long prompt does not stop the others for
long. A new prompt takes the row that begins like it, and only the rest of the prompt is run. A text that is alone may be
decoded by n-gram speculation: a draft of several tokens is checked at once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from .cache import Cache
from .errors import ContextError, PromptError
from .stream import Stream

_PART = 256
"""Tokens of a prompt that are read in one step: others wait meanwhile, and the memory of a run grows with it."""
_WORTH_COPYING = 16
"""A common beginning shorter than this is computed again rather than copied from a row in use."""


class Loop:
    """Runs streams over the rows of one cache."""

    def __init__(self, cache: Cache, *, context: int) -> None:
        self._cache = cache
        self._context = context
        self._active: list[Stream] = []
        self._reading: Stream | None = None
        self._held: list[list[int]] = [[] for _ in cache.lengths]
        """The tokens whose keys and values each row holds."""

    @property
    def rows(self) -> int:
        """How many streams can be decoded at once."""
        return len(self._held)

    @property
    def running(self) -> int:
        """How many streams are being read or decoded."""
        return len(self._active) + (self._reading is not None)

    @property
    def free(self) -> bool:
        """Whether a stream can be added now."""
        return self._reading is None and len(self._active) < len(self._held)

    @property
    def cached_tokens(self) -> int:
        """How many tokens the rows hold."""
        return sum(len(held) for held in self._held)

    def add(self, stream: Stream) -> None:
        """Start a stream; look at `free` first.

        Raises:
            PromptError: the prompt is empty or longer than the context.
            CacheError: there is no memory for its cache.
        """
        prompt = stream.prompt
        check_prompt(prompt, self._context)
        stream.limit(self._context - len(prompt))
        self._cache.reserve(min(self._context, len(prompt) + max(1, min(stream.left, 256))))
        row = len(self._active)
        source, common = self._best(prompt)
        if source < row:
            self._cache.copy(source, row, common)
            self._held[row] = self._held[source][:common]
        else:
            self._swap(row, source)
        self._cache.rewind(row, common)
        del self._held[row][common:]
        stream.reused = common
        stream.started = time.perf_counter()
        self._reading = stream

    def _best(self, prompt: Sequence[int]) -> tuple[int, int]:
        """Return the row that begins most like `prompt`, and how many tokens; the last token is always run again."""
        first = len(self._active)
        shared = [_common(held, prompt) for held in self._held]
        best = max(range(len(shared)), key=lambda row: (shared[row], row >= first, -len(self._held[row])))
        if shared[best] < _WORTH_COPYING:  # take the row whose content is the least loss
            best = min(range(first, len(shared)), key=lambda row: len(self._held[row]) - shared[row])
        return best, min(shared[best], len(prompt) - 1)

    def step(self) -> list[Stream]:
        """Read a part of a prompt, decode a token in every row, and return the streams that got tokens."""
        if self._reading is None and len(self._active) == 1 and self._active[0].drafter is None:  # (as below, with less to do)
            changed = self._decode()
            if changed[0].reason is not None:
                self._leave(changed[0])
            return changed
        changed = []
        if self._reading is not None:
            changed += self._read()
        if len(self._active) == 1 and self._reading is None and self._active[0].drafter is not None:
            changed += self._draft(self._active[0])
        elif self._active:
            changed += self._decode()
        for stream in [stream for stream in self._active if stream.reason is not None]:
            self._leave(stream)
        return list({id(stream): stream for stream in changed}.values())

    def drop(self, stream: Stream) -> None:
        """End a stream at once, because it has no reader any more."""
        stream.end("cancelled")
        if stream is self._reading:
            self._reading = None
        elif stream in self._active:
            self._leave(stream)

    def _read(self) -> list[Stream]:
        stream, row = self._reading, len(self._active)
        if stream is None:
            return []
        done = len(self._held[row])
        part = stream.prompt[done : done + _PART]
        logits = self._cache.extend(row, part)
        self._held[row] += part
        if done + len(part) < len(stream.prompt):
            return []
        self._reading = None
        self._active.append(stream)
        stream.take(logits[-1])
        if stream.reason is not None:
            self._leave(stream)
        return [stream]

    def _decode(self) -> list[Stream]:
        streams = list(self._active)
        tokens = [stream.made[-1] for stream in streams]
        logits = self._cache.step(tokens)
        for row, stream in enumerate(streams):
            self._held[row].append(tokens[row])
            stream.take(logits[row])
        return streams

    def _draft(self, stream: Stream) -> list[Stream]:
        """Decode one token, or check a draft of several: each choice is made from the logits after what was chosen before."""
        drafter = stream.drafter
        guess = drafter.guess(stream.left - 1) if drafter is not None else []
        if drafter is None or not guess:
            return self._decode()
        held, tokens = self._held[0], [stream.made[-1], *guess]
        logits = self._cache.extend(0, tokens, want=len(tokens))
        kept = 0
        for place, scores in enumerate(logits):
            token = stream.take(scores)
            if stream.reason is not None or place == len(guess) or token != guess[place]:
                break
            kept += 1
        held += tokens[: kept + 1]
        self._cache.rewind(0, len(held))
        drafter.judge(len(guess), kept)
        return [stream]

    def _leave(self, stream: Stream) -> None:
        """Free a stream's row; the last row in use takes its place, so that rows in use stay together."""
        row, last = self._active.index(stream), len(self._active) - 1
        self._swap(row, last)
        self._active[row] = self._active[last]
        self._active.pop()
        if self._reading is not None:
            self._swap(last, last + 1)

    def _swap(self, one: int, other: int) -> None:
        if one != other:
            self._cache.swap(one, other)
            self._held[one], self._held[other] = self._held[other], self._held[one]


def check_prompt(prompt: Sequence[int], context: int) -> None:
    """Raise an error if the model cannot continue `prompt`.

    Raises:
        PromptError: it is empty.
        ContextError: it leaves no room for an answer.
    """
    if not prompt:
        raise PromptError("the prompt is empty: write at least one character")
    if len(prompt) >= context:
        raise ContextError(
            f"the prompt has {len(prompt)} tokens, the model's context is {context} for prompt and answer together; "
            f"shorten it by at least {len(prompt) - context + 1}"
        )


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens both begin with."""
    count = min(len(one), len(other))
    return next((index for index in range(count) if one[index] != other[index]), count)
