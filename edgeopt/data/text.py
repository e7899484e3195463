"""Labelled sentences, one per line (``<label><space or tab><text>``), through a tokenizer; lengths are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgeopt.data.samples import Sample, Samples
from edgeopt.documents import read_text
from edgeopt.errors import DataError
from edgeopt.extras import need
from edgeopt.files import sha256

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Text = str | tuple[str, str]
_LABEL_DIGITS = 18  # of a number that int64 holds
_FEEDS = ("input_ids", "attention_mask", "token_type_ids")


def read_sentences(path: Path, tokenizer_folder: Path, *, max_length: int, inputs: list[str]) -> Samples:
    """Return the sentences of the file at `path` as int64 arrays [sequence] for each of `inputs`.

    Args:
        path: UTF-8 text, one sentence per line, preceded by the index of its label.
        tokenizer_folder: holds ``tokenizer.json``.
        max_length: longer sentences are cut to this many tokens.
        inputs: any of ``input_ids``, ``attention_mask``, ``token_type_ids``.

    Raises:
        DataError: a line has no label, or the tokenizer is missing.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file of sentences")
    labels, sentences = _split(path)
    options = TextOptions(max_length, tuple(inputs))
    return tokenized(sentences, np.asarray(labels, dtype=np.int64), tokenizer_folder, options, made_from=sha256(path))


@dataclass(frozen=True)
class TextOptions:
    """Longer texts are cut to `max_length` tokens; `inputs` are any of input_ids, attention_mask, token_type_ids."""

    max_length: int = 128
    inputs: tuple[str, ...] = ("input_ids", "attention_mask")


def tokenized(
    texts: Sequence[Text], labels: NDArray[np.int64] | None, tokenizer_folder: Path, options: TextOptions, *, made_from: str
) -> Samples:
    """Return texts, or pairs of texts, as int64 arrays [sequence] for each of the inputs; `made_from` is part of the digest.

    Raises:
        DataError: the tokenizer is missing, or an input is not one that a tokenizer feeds.
        MachineError: the package tokenizers is not installed.
    """
    need("tokenizers", purpose="reading texts")
    tokenizer_file = tokenizer_folder / "tokenizer.json" if tokenizer_folder.is_dir() else tokenizer_folder
    if not tokenizer_file.is_file():
        raise DataError(f"{tokenizer_file}: the tokenizer is missing; name the folder that holds it as the teacher's source")
    for name in options.inputs:
        if name not in _FEEDS:
            raise DataError(f"the model's input '{name}' is not one that a tokenizer feeds; those are: {', '.join(_FEEDS)}")
    encodings = _tokenizer(str(tokenizer_file), options.max_length).encode_batch(list(texts))

    def read(index: int) -> Sample:
        encoding = encodings[index]
        columns = {"input_ids": encoding.ids, "attention_mask": encoding.attention_mask, "token_type_ids": encoding.type_ids}
        return {name: np.asarray(columns[name], dtype=np.int64) for name in options.inputs}

    recipe = f"{made_from} {sha256(tokenizer_file)} {options.max_length} {list(options.inputs)}"
    return Samples(len(encodings), read, labels, hashlib.sha256(recipe.encode()).hexdigest())


def _split(path: Path) -> tuple[list[int], list[str]]:
    labels, sentences = [], []
    text = read_text(path, error=DataError, what="a file of sentences")
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], 1):
        label, _, sentence = line.rstrip("\r\n").replace("\t", " ", 1).partition(" ")
        if not (label.isascii() and label.isdigit() and len(label) <= _LABEL_DIGITS):
            raise DataError(
                f"{path}: line {number} starts with {label[:20]!r}, not with a label's number; write '<label> <text>'"
            )
        labels.append(int(label))
        sentences.append(sentence)
    return labels, sentences


@lru_cache(maxsize=4)
def _tokenizer(file: str, max_length: int) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(file)
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length)
    except Exception as error:  # (its errors share no base but Exception)
        raise DataError(f"{file}: not a tokenizer that can be read: {' '.join(str(error).split())[:200]}") from error
    return tokenizer
