"""Views of text: parts of sentences at word boundaries, between the special tokens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgeopt.data.augment.config import TextViews
from edgeopt.data.augment.text import TextView, Vocabulary
from edgeopt.data.samples import Samples
from edgeopt.errors import DataError

# 0 [PAD] 1 [CLS] 2 [SEP] 3 [MASK] 4 good 5 film 6 ##s 7 bad 8 very
_TOKENS = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "good", "film", "##s", "bad", "very"]
_SENTENCE = [1, 8, 4, 5, 6, 7, 2]  # very good films bad


def vocabulary(folder: Path) -> Vocabulary:
    added = [{"id": number, "content": _TOKENS[number], "special": True} for number in range(4)]
    vocab = {token: number for number, token in enumerate(_TOKENS)}
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "WordPiece", "vocab": vocab}, "added_tokens": added}))
    return Vocabulary.read(folder)


def samples() -> Samples:
    arrays = {"input_ids": np.array(_SENTENCE), "attention_mask": np.ones(len(_SENTENCE), np.int64)}
    return Samples(2, lambda index: arrays, np.zeros(2, np.int64), "x")


def views(tmp_path: Path, **options: float) -> list[tuple[list[int], bool]]:
    view = TextView(samples(), vocabulary(tmp_path), TextViews.read(options, where="test"))
    found = []
    for seed in range(60):
        sample, labelled = view(0, np.random.default_rng(seed))
        assert len(sample["attention_mask"]) == len(sample["input_ids"])
        found.append((sample["input_ids"].tolist(), labelled))
    return found


def test_parts_are_consecutive_whole_words_between_the_special_tokens(tmp_path: Path) -> None:
    allowed = {(8,), (4,), (5, 6), (7,), (8, 4), (4, 5, 6), (5, 6, 7), (8, 4, 5, 6), (4, 5, 6, 7), (8, 4, 5, 6, 7)}
    seen = set()
    for ids, labelled in views(tmp_path, whole=0.0, shortest=1):
        assert (ids[0], ids[-1]) == (1, 2)
        assert not labelled
        seen.add(tuple(ids[1:-1]))
    assert seen <= allowed
    assert len(seen) >= 8


def test_whole_sentences_keep_their_label(tmp_path: Path) -> None:
    found = views(tmp_path, whole=0.5)
    assert all(ids == _SENTENCE for ids, labelled in found if labelled)
    assert 15 < sum(labelled for _, labelled in found) < 45


def test_words_are_masked_and_replaced_whole(tmp_path: Path) -> None:
    for ids, _ in views(tmp_path, whole=1.0, mask=0.5):
        text = ids[1:-1]
        assert 6 not in text or text[text.index(6) - 1] == 5, "a word's end stands without its beginning"
    replaced = {tuple(ids) for ids, _ in views(tmp_path, whole=1.0, replace=0.5)}
    assert len(replaced) > 10


def test_joined_parts_are_not_longer_than_the_longest_sample(tmp_path: Path) -> None:
    assert max(len(ids) for ids, _ in views(tmp_path, whole=0.0, join=1.0)) <= len(_SENTENCE)


def test_byte_pair_tokens_continue_a_word_where_no_space_begins_them(tmp_path: Path) -> None:
    vocab = {"Ġgood": 0, "Ġfilm": 1, "s": 2, "Ġvery": 3, "Ġbad": 4}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "vocab": vocab}, "added_tokens": []}))
    assert Vocabulary.read(tmp_path).continues.tolist() == [False, False, True, False, False]


def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match=r"tokenizer\.json: not a tokenizer whose words can be told apart"):
        Vocabulary.read(tmp_path)
