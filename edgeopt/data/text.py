"""Labelled sentences, one a line (``<label><space or tab><text>``), through a tokenizer; lengths stay as they are."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from edgeopt.data.samples import Sample, Samples
from edgeopt.errors import DataError
from edgeopt.files import sha256


def read_sentences(path: Path, tokenizer_folder: Path, *, max_length: int, inputs: list[str]) -> Samples:
    """Return the sentences of the file at `path` as int64 arrays [sequence] for each of `inputs`.

    Args:
        path: UTF-8 text, one sentence a line, led by its label's number.
        tokenizer_folder: holds ``tokenizer.json``.
        max_length: longer sentences are cut to this many tokens.
        inputs: any of ``input_ids``, ``attention_mask``, ``token_type_ids``.

    Raises:
        DataError: a line has no label, or the tokenizer is missing.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file of sentences")
    tokenizer_file = tokenizer_folder / "tokenizer.json"
    if not tokenizer_file.is_file():
        raise DataError(f"{tokenizer_file}: the tokenizer is missing; name the folder that holds it as the teacher's source")
    labels, sentences = _split(path)
    tokenizer = _tokenizer(str(tokenizer_file), max_length)
    encodings = tokenizer.encode_batch(sentences)

    def read(index: int) -> Sample:
        encoding = encodings[index]
        columns = {"input_ids": encoding.ids, "attention_mask": encoding.attention_mask, "token_type_ids": encoding.type_ids}
        return {name: np.asarray(columns[name], dtype=np.int64) for name in inputs}

    made_from = f"{sha256(path)} {sha256(tokenizer_file)} {max_length} {inputs}"
    digest = hashlib.sha256(made_from.encode()).hexdigest()
    return Samples(len(labels), read, np.asarray(labels, dtype=np.int64), digest)


def _split(path: Path) -> tuple[list[int], list[str]]:
    labels, sentences = [], []
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, 1):
            label, _, text = line.rstrip("\r\n").replace("\t", " ", 1).partition(" ")
            if not label.isdigit():
                raise DataError(
                    f"{path}: line {number} starts with {label[:20]!r}, not with a label's number; write '<label> <text>'"
                )
            labels.append(int(label))
            sentences.append(text)
    return labels, sentences


@lru_cache(maxsize=4)
def _tokenizer(file: str, max_length: int) -> Tokenizer:
    tokenizer = Tokenizer.from_file(file)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer
