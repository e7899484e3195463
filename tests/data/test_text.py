"""Sentences through a tokenizer: labels from the line, lengths as they are, other options other data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeopt.data.text import TextOptions, read_sentences, tokenized
from edgeopt.errors import DataError

WORDS = {"[UNK]": 0, "good": 1, "bad": 2, "film": 3}


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """A tokenizer of four words, split at spaces."""
    model = {"type": "WordLevel", "vocab": WORDS, "unk_token": "[UNK]"}
    whole = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None}
    whole |= {"pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None, "model": model}
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole), encoding="utf-8")
    return tmp_path


def test_a_line_is_a_label_and_a_sentence(tokenizer: Path) -> None:
    (tokenizer / "s.txt").write_text("1 good film\n0\tbad\n", encoding="utf-8")
    found = read_sentences(tokenizer / "s.txt", tokenizer, max_length=8, inputs=["input_ids", "attention_mask"])
    assert found.labels is not None
    assert found.labels.tolist() == [1, 0]
    assert [found[index]["input_ids"].tolist() for index in range(2)] == [[1, 3], [2]]
    assert found[1]["attention_mask"].tolist() == [1]


def test_a_line_without_a_label_is_named(tokenizer: Path) -> None:
    (tokenizer / "s.txt").write_text("1 good\nfilm bad\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2 starts with 'film', not with a label's number"):
        read_sentences(tokenizer / "s.txt", tokenizer, max_length=8, inputs=["input_ids"])


def test_longer_texts_are_cut_and_pairs_know_their_halves(tokenizer: Path) -> None:
    cut = tokenized(["good bad film"], None, tokenizer, TextOptions(2), made_from="x")
    assert cut[0]["input_ids"].tolist() == [1, 2]
    pair = tokenized([("good", "bad film")], None, tokenizer, TextOptions(8, ("input_ids", "token_type_ids")), made_from="x")
    assert pair[0]["input_ids"].tolist() == [1, 2, 3]
    assert pair[0]["token_type_ids"].tolist() == [0, 1, 1]


def test_what_decides_the_arrays_is_in_the_digest(tokenizer: Path) -> None:
    def digest(made_from: str = "x", length: int = 8) -> str:
        return tokenized(["good"], None, tokenizer, TextOptions(length), made_from=made_from).digest

    assert digest() == digest()
    assert len({digest(), digest(made_from="y"), digest(length=9)}) == 3


def test_inputs_that_no_tokenizer_feeds_and_a_missing_one_are_said(tokenizer: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'pixels' is not one that a tokenizer feeds"):
        tokenized(["good"], None, tokenizer, TextOptions(8, ("pixels",)), made_from="x")
    (tokenizer / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"tokenizer\.json: the tokenizer is missing"):
        tokenized(["good"], None, tmp_path, TextOptions(), made_from="x")
