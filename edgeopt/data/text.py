"""Labelled sentences, one per line (``<label><space or tab><text>``), through a tokenizer; lengths are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgeopt.data.annotations import TokenPlaces
from edgeopt.data.samples import Sample, Samples
from edgeopt.documents import read_text
from edgeopt.errors import DataError
from edgeopt.extras import need
from edgeopt.files import sha256

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

Text = str | tuple[str, str]
_LABEL_DIGITS = 18  # of a number that int64 holds
VIRTUAL_TOKEN = "<|virtual_%d|>"
"""Name of a token that a tokenizer puts in front of every text, and that stands for none (`edgeopt.train.virtual_tokens`)."""
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
    tokenizer, digest = _ready(tokenizer_folder, options, made_from)
    for name in options.inputs:
        if name not in _FEEDS:
            raise DataError(f"the model's input '{name}' is not one that a tokenizer feeds; those are: {', '.join(_FEEDS)}")
    samples = _samples_of(tokenizer.encode_batch(list(texts)), options, labels, digest)
    return replace(samples, lead=len(virtual_ids(tokenizer)))


def _ready(tokenizer_folder: Path, options: TextOptions, made_from: str) -> tuple[Tokenizer, str]:
    """Return the tokenizer, and the hash of all that the tokens depend on."""
    need("tokenizers", purpose="reading texts")
    tokenizer_file = tokenizer_folder / "tokenizer.json" if tokenizer_folder.is_dir() else tokenizer_folder
    if not tokenizer_file.is_file():
        raise DataError(f"{tokenizer_file}: the tokenizer is missing; name the folder that holds it as the teacher's source")
    recipe = f"{made_from} {sha256(tokenizer_file)} {options.max_length} {list(options.inputs)}"
    return _tokenizer(str(tokenizer_file), options.max_length), hashlib.sha256(recipe.encode()).hexdigest()


def _samples_of(encodings: Sequence[Encoding], options: TextOptions, labels: NDArray[np.int64] | None, digest: str) -> Samples:
    def read(index: int) -> Sample:
        encoding = encodings[index]
        columns = {"input_ids": encoding.ids, "attention_mask": encoding.attention_mask, "token_type_ids": encoding.type_ids}
        return {name: np.asarray(columns[name], dtype=np.int64) for name in options.inputs}

    return Samples(len(encodings), read, labels, digest)


def tokenized_words(
    sentences: Sequence[Sequence[str]], tokenizer_folder: Path, options: TextOptions, *, made_from: str
) -> tuple[Samples, list[NDArray[np.int64]]]:
    """Return sentences of words as tokens, and for each sentence the number of the word that each token starts, else -1.

    Raises:
        DataError: as `tokenized`.
    """
    tokenizer, digest = _ready(tokenizer_folder, options, made_from)
    encodings = tokenizer.encode_batch([list(words) for words in sentences], is_pretokenized=True)
    return _samples_of(encodings, options, None, digest), [_word_starts(encoding) for encoding in encodings]


def _word_starts(encoding: Encoding) -> NDArray[np.int64]:
    words = [-1 if word is None else int(word) for word in encoding.word_ids]
    return np.array([-1 if word == before else word for word, before in zip(words, [-1, *words], strict=False)], np.int64)


def windows(text: str, tokenizer_folder: Path, options: TextOptions, *, made_from: str) -> Samples:
    """Return a whole text as samples of `options.max_length` tokens each, without special tokens; the rest is left out.

    The virtual tokens of the tokenizer, if it has any, stand in front of each.

    Raises:
        DataError: as `tokenized`, or the text is shorter than a window.
    """
    tokenizer, digest = _ready(tokenizer_folder, options, made_from)
    tokenizer.no_truncation()
    ids = np.array(tokenizer.encode(text, add_special_tokens=False).ids, np.int64)
    tokenizer.enable_truncation(options.max_length)
    count = len(ids) // options.max_length
    if not count:
        raise DataError(
            f"the text has {len(ids)} tokens, which is less than one window of {options.max_length}: write ?max_length="
        )
    rows = ids[: count * options.max_length].reshape(count, options.max_length)
    virtual = np.array(virtual_ids(tokenizer), np.int64)
    length = len(virtual) + options.max_length
    constant = {
        "attention_mask": np.ones(length, np.int64),
        "position_ids": np.arange(length, dtype=np.int64),
        "token_type_ids": np.zeros(length, np.int64),
    }
    for name in options.inputs:
        if name != "input_ids" and name not in constant:
            raise DataError(
                f"the model's input '{name}' is not one that a text feeds; those are: input_ids, {', '.join(constant)}"
            )

    def read(index: int) -> Sample:
        ids = np.concatenate([virtual, rows[index]])
        return {name: ids if name == "input_ids" else constant[name] for name in options.inputs}

    return Samples(count, read, None, hashlib.sha256(f"{digest} windows".encode()).hexdigest(), lead=len(virtual))


def places_of(texts: Sequence[Text], tokenizer_folder: Path, options: TextOptions) -> list[TokenPlaces]:
    """Return where the tokens of each text, or of the second of a pair, lie in it.

    Raises:
        DataError: as `tokenized`.
    """
    tokenizer, _ = _ready(tokenizer_folder, options, "")
    return [
        TokenPlaces(text if isinstance(text, str) else text[1], tuple(encoding.offsets), tuple(encoding.sequence_ids))
        for text, encoding in zip(texts, tokenizer.encode_batch(list(texts)), strict=True)
    ]


def token_ids(texts: Sequence[str], tokenizer_folder: Path, max_length: int) -> list[tuple[int, ...]]:
    """Return the token ids of texts, special tokens included."""
    tokenizer, _ = _ready(tokenizer_folder, TextOptions(max_length), "")
    return [tuple(encoding.ids) for encoding in tokenizer.encode_batch(list(texts))]


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


def virtual_ids(tokenizer: Tokenizer) -> list[int]:
    """Return the ids of the virtual tokens that a tokenizer puts in front of every text; [] for most."""
    ids: list[int] = []
    while (found := tokenizer.token_to_id(VIRTUAL_TOKEN % len(ids))) is not None:
        ids.append(found)
    return ids


def tokenizer_at(folder: Path) -> Tokenizer:
    """Return the tokenizer in a folder, to make texts of tokens."""
    file = folder / "tokenizer.json" if folder.is_dir() else folder
    return _tokenizer(str(file), TextOptions().max_length)
