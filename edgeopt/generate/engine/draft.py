"""Prompt lookup: guess the next tokens from what followed the same words before (n-gram speculation).

Idea. Texts repeat themselves: code, quotations, names, tables. If the last n tokens occurred before, the tokens that followed
then are a cheap guess; the model checks all of them in one run, which costs little more than one token, and keeps those that it
would have chosen itself, so the text is the same as far as the arithmetic is: onnxruntime's kernels for 4-bit weights round
differently for one position and for several, and near-ties may then fall differently. (https://github.com/apoorvumang/prompt-lookup-decoding)

A wrong guess costs time. Guesses grow while they are right and shrink when they are wrong, and after several bad ones the
drafter pauses for some tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

_LONGEST, _SHORTEST = 4, 2
_MOST, _FEWEST, _FIRST = 12, 2, 4
_PAUSE = 16


class Drafter:
    """Guesses the continuation of one text, which grows token by token."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._text: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        self._size = _FIRST
        self._misses = 0
        self._rest = 0
        self.offered = 0
        self.kept = 0
        for token in tokens:
            self.add(token)

    def add(self, token: int) -> None:
        """Append a token to the text."""
        text = self._text
        for size in range(_SHORTEST, _LONGEST + 1):
            if len(text) >= size:
                self._after[tuple(text[-size:])] = len(text)
        text.append(token)
        self._rest = max(0, self._rest - 1)

    def guess(self, most: int) -> list[int]:
        """Return up to `most` tokens that may follow; [] where the text gives no hint, or guesses failed lately."""
        text = self._text
        if self._rest or most < 1:
            return []
        for size in range(min(_LONGEST, len(text)), _SHORTEST - 1, -1):
            place = self._after.get(tuple(text[-size:]))
            if place is not None:
                return text[place : place + min(most, self._size)]
        return []

    def judge(self, offered: int, kept: int) -> None:
        """Learn how many of the guessed tokens the model kept."""
        self.offered += offered
        self.kept += kept
        if kept == offered:
            self._size, self._misses = min(_MOST, 2 * self._size), 0
        elif 2 * kept >= offered:
            self._misses = 0
        else:
            self._size, self._misses = max(_FEWEST, self._size // 2), self._misses + 1
            if self._misses >= 2:
                self._rest = _PAUSE * (self._misses - 1)
