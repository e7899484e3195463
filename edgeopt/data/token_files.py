"""Tagged words from CoNLL files: one word per line, its tag in the last column, an empty line behind each sentence.

    Sioux   B-LOC            en:Sioux<tab>B-LOC            EU NNP I-NP B-ORG

Lines that start with ``-DOCSTART-`` or ``# `` are no words, but for ``# O``; a prefix such as ``en:`` that all words share is
dropped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeopt.data.annotations import IGNORED
from edgeopt.data.label_names import has_names, numbered
from edgeopt.data.samples import Samples
from edgeopt.data.text import TextOptions, tokenized_words
from edgeopt.documents import read_text
from edgeopt.errors import DataError
from edgeopt.files import sha256

SUFFIXES = (".conll", ".conllu", ".iob", ".iob2", ".bio")
_TAG = re.compile(r"O|[BIESLU]-\S+")
_LANGUAGE = re.compile(r"[a-z]{2,3}:(?=.)")
_LOOKED_AT = 200


@dataclass(frozen=True)
class Tagged:
    """Sentences: their words and tags."""

    words: list[list[str]]
    tags: list[list[str]]


def looks_tagged(path: Path) -> bool:
    """Return whether a text file is one of tagged words: most lines have columns, and the last is a BIO tag."""
    try:
        with path.open(encoding="utf-8") as file:
            lines = [line.split() for line, _ in zip(file, range(_LOOKED_AT), strict=False)]
    except (OSError, UnicodeDecodeError):
        return False
    filled = [columns for columns in lines if columns and not columns[0].startswith(("-DOCSTART-", "#"))]
    fits = [columns for columns in filled if len(columns) > 1 and _TAG.fullmatch(columns[-1])]
    return bool(filled) and len(fits) > 0.9 * len(filled)


def read_tagged(path: Path) -> Tagged:
    """Return the sentences of a CoNLL file.

    Raises:
        DataError: it cannot be read, or a line has no tag.
    """
    text = read_text(path, error=DataError, what="a file of tagged words")
    words: list[list[str]] = [[]]
    tags: list[list[str]] = [[]]
    for number, line in enumerate(text.split("\n"), 1):
        columns = line.split("\t") if "\t" in line else line.split()
        if not line.strip() or columns[0].startswith("-DOCSTART-"):
            if words[-1]:
                words.append([])
                tags.append([])
            continue
        if line.startswith("# ") and not (len(columns) == 2 and _TAG.fullmatch(columns[1])):
            continue
        if len(columns) < 2 or not columns[-1].strip() or not columns[0].strip():
            raise DataError(
                f"{path}: line {number} is {line[:40]!r}; write a word and its tag, and an empty line between sentences"
            )
        words[-1].append(columns[0].strip())
        tags[-1].append(columns[-1].strip())
    kept = [index for index, row in enumerate(words) if row]
    if not kept:
        raise DataError(f"{path}: no tagged words in it")
    chosen = [words[index] for index in kept]
    if all(_LANGUAGE.match(word) for row in chosen for word in row):
        chosen = [[word.partition(":")[2] for word in row] for row in chosen]
    return Tagged(chosen, [tags[index] for index in kept])


def read_tokens(path: Path, tokenizer: Path, options: TextOptions, *, model_names: tuple[str, ...] = ()) -> Samples:
    """Return the sentences of a CoNLL file as tokens; the first token of each word has the word's tag.

    Args:
        path: the file.
        tokenizer: its folder.
        options: how texts are tokenized.
        model_names: the model's tags by number, if they are known.

    Raises:
        DataError: a tag is none of the model's.
    """
    tagged = read_tagged(path)
    flat = [tag for row in tagged.tags for tag in row]
    names = model_names if has_names(model_names) else _ordered(flat)
    numbers, names = numbered(flat, names, where=f"{path}")
    ends = np.cumsum([len(row) for row in tagged.tags])
    rows = np.split(numbers, ends[:-1])
    samples, firsts = tokenized_words(tagged.words, tokenizer, options, made_from=f"{sha256(path)} {list(names)}")
    annotations = [_labels(row, first) for row, first in zip(rows, firsts, strict=True)]
    return replace(samples, annotations=annotations, names=tuple(names))


def _ordered(tags: list[str]) -> tuple[str, ...]:
    """Return the tags with O first, then kind by kind, B before I."""
    return tuple(sorted(set(tags), key=lambda tag: (tag != "O", tag.partition("-")[2], tag)))


def _labels(tags: NDArray[np.int64], words: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the tag of each token that starts a word (`words` has its number), -100 for others."""
    return np.where(words >= 0, tags[np.maximum(words, 0)], IGNORED)
