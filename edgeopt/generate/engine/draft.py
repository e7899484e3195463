"""Prompt lookup: guess the next tokens from what followed the same words before (n-gram speculation).

Idea. Texts repeat themselves: code, quotations, names, tables. If the last n tokens occurred before, the tokens that followed
then are a cheap guess; the model checks all of them in one run, which costs less than one token each, and keeps those that it
would have chosen itself, so the text is the same as far as the arithmetic is: onnxruntime's kernels for 4-bit weights round
differently for one position and for several, and near-ties may then fall differently. (https://github.com/apoorvumang/prompt-lookup-decoding)

A wrong guess costs time, and the longer the words that occurred before, the likelier is what follows: after n equal tokens
n - 1 are guessed. So two equal tokens risk one more position in a run, and a text that is copied is soon guessed by the dozen.
"""

from __future__ import annotations

from collections.abc import Sequence

_KEYS = (3, 2)
"""Lengths of words that are looked up, the longest first."""
_MOST = 12
"""Tokens of a guess."""


class Drafter:
    """Guesses the continuation of one text, which grows token by token."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._text: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        self.offered = 0
        self.kept = 0
        for token in tokens:
            self.add(token)

    def add(self, token: int) -> None:
        """Append a token to the text."""
        text = self._text
        for size in _KEYS:
            if len(text) >= size:
                self._after[tuple(text[-size:])] = len(text)
        text.append(token)

    def guess(self, most: int) -> list[int]:
        """Return up to `most` tokens that may follow; [] where the text gives no hint."""
        for size in _KEYS:
            place = self._after.get(tuple(self._text[-size:]))
            if place is not None:
                return self._text[place : place + max(0, min(most, self._equal_before(place, size) - 1))]
        return []

    def _equal_before(self, place: int, size: int) -> int:
        """Return how many tokens before `place` are those at the end, `size` at least."""
        text = self._text
        while size <= _MOST and size < place and text[place - size - 1] == text[-size - 1]:
            size += 1
        return size

    def judge(self, offered: int, kept: int) -> None:
        """Count how many of the guessed tokens the model kept."""
        self.offered += offered
        self.kept += kept
