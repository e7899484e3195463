"""Views of tokenized text: random parts of sentences, parts joined, words masked or replaced.

Parts of a sentence are in-domain text that costs nothing: the teacher says what each means. Words stay whole: tokens that
continue a word move with it. Special tokens (the classifier's first token, separators) stay at their ends.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeopt.data.augment.config import TextViews
from edgeopt.data.samples import Sample, Samples
from edgeopt.errors import DataError

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Vocabulary:
    """What a view has to know of a tokenizer.

    Attributes:
        continues: [vocabulary], whether a token continues the word before it.
        special: numbers of the special tokens.
        mask: number of the mask token, or None.
    """

    continues: NDArray[np.bool_]
    special: frozenset[int]
    mask: int | None

    @classmethod
    def read(cls, folder: Path) -> Vocabulary:
        """Return the vocabulary of the tokenizer.json in `folder`.

        Raises:
            DataError: there is none, or it cannot be read.
        """
        file = folder / "tokenizer.json" if folder.is_dir() else folder
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            tokens = _tokens(values["model"]["vocab"])
            added = {str(item["content"]): int(item["id"]) for item in values.get("added_tokens", []) if item.get("special")}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise DataError(f"{file}: not a tokenizer whose words can be told apart: {error}") from error
        count = max([*tokens.values(), *added.values()], default=-1) + 1
        continues = np.zeros(count, dtype=np.bool_)
        wordpiece = any(token.startswith("##") for token in tokens)
        marked = sum(token.startswith(("Ġ", "▁")) for token in tokens) > len(tokens) // 10
        for token, number in tokens.items():
            continues[number] = token.startswith("##") if wordpiece else marked and not token.startswith(("Ġ", "▁"))
        mask = next((number for token, number in added.items() if "mask" in token.lower()), None)
        return cls(continues, frozenset(added.values()), mask)


def _tokens(vocabulary: Any) -> dict[str, int]:
    """Return token → number; unigram models keep a list of (token, score)."""
    if isinstance(vocabulary, dict):
        return {str(token): int(number) for token, number in vocabulary.items()}
    return {str(entry[0]): number for number, entry in enumerate(vocabulary)}


@dataclass(frozen=True)
class TextView:
    """Makes views of one sample; see `TextViews`."""

    samples: Samples
    vocabulary: Vocabulary
    options: TextViews

    def __call__(self, index: int, random: np.random.Generator) -> tuple[Sample, bool]:
        """Return a view of sample `index`, and whether its hard label still holds."""
        sample, options = self.samples[index], self.options
        ids = np.asarray(sample["input_ids"])
        words = self._words(ids)
        whole = random.random() < options.whole
        if not whole:
            words = self._part(words, random)
        if options.join and random.random() < options.join:
            whole = False
            other = np.asarray(self.samples[int(random.integers(len(self.samples)))]["input_ids"])
            words = [*words, *self._part(self._words(other), random)]
        words = [self._changed(word, random) for word in words] if options.mask or options.replace else words
        start, end = self._edges(ids)
        room = max(len(ids), self._longest) - start - (len(ids) - end)
        middle = np.concatenate(words)[:room] if words else ids[:0]
        return self._sample(sample, np.concatenate([ids[:start], middle, ids[end:]])), whole

    @cached_property
    def _longest(self) -> int:
        return max(len(self.samples[index]["input_ids"]) for index in range(len(self.samples)))

    def _edges(self, ids: Ids) -> tuple[int, int]:
        """Return where the text between the special tokens at both ends begins and ends."""
        plain = np.flatnonzero([int(token) not in self.vocabulary.special for token in ids])
        return (int(plain[0]), int(plain[-1]) + 1) if len(plain) else (len(ids), len(ids))

    def _words(self, ids: Ids) -> list[Ids]:
        start, end = self._edges(ids)
        text = ids[start:end]
        if not len(text):
            return []
        heads = ~self.vocabulary.continues[np.minimum(text, len(self.vocabulary.continues) - 1)]
        heads[0] = True
        return np.split(text, np.flatnonzero(heads)[1:])

    def _part(self, words: list[Ids], random: np.random.Generator) -> list[Ids]:
        """Return consecutive words: each length from `shortest` on, then each place, is equally likely."""
        if len(words) <= self.options.shortest:
            return words
        length = int(random.integers(self.options.shortest, len(words) + 1))
        start = int(random.integers(0, len(words) - length + 1))
        return words[start : start + length]

    def _changed(self, word: Ids, random: np.random.Generator) -> Ids:
        chance = random.random()
        if chance < self.options.mask and self.vocabulary.mask is not None:
            return np.asarray([self.vocabulary.mask], dtype=word.dtype)
        if chance < self.options.mask + self.options.replace:
            other = self._words(np.asarray(self.samples[int(random.integers(len(self.samples)))]["input_ids"]))
            return other[int(random.integers(len(other)))] if other else word
        return word

    def _sample(self, sample: Sample, ids: Ids) -> Sample:
        """Return the sample with other tokens; its other inputs (mask, types) are cut or repeated at their end."""
        changed = {"input_ids": ids}
        for name, values in sample.items():
            if name != "input_ids":
                array = np.asarray(values)
                same = array.ndim == 1 and len(array) == len(sample["input_ids"])
                changed[name] = np.resize(array, len(ids)) if same and len(ids) <= len(array) else array
                if same and len(ids) > len(array):
                    changed[name] = np.concatenate([array, np.full(len(ids) - len(array), array[-1], array.dtype)])
        return {name: changed[name] for name in sample}
