"""Token classification: entities by the rules of CoNLL, labels at words' first tokens, agreement."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgeopt.data.annotations import IGNORED
from edgeopt.data.samples import Samples
from edgeopt.errors import DataError
from edgeopt.tasks.token_classification import TokenClassification, entities

TASK = TokenClassification()
NAMES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def tagged(rows: list[list[int]]) -> Samples:
    arrays = [np.array(row, np.int64) for row in rows]
    samples = Samples(len(rows), lambda index: {"input_ids": np.arange(len(rows[index]))}, None, "digest")
    return replace(samples, annotations=arrays, names=NAMES)


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("O B-PER I-PER O", {("PER", 1, 2)}),
        ("B-PER B-PER", {("PER", 0, 0), ("PER", 1, 1)}),
        ("I-PER I-PER O I-LOC", {("PER", 0, 1), ("LOC", 3, 3)}),  # I- behind O starts an entity
        ("B-PER I-LOC I-LOC", {("PER", 0, 0), ("LOC", 1, 2)}),  # ... and so does one of another kind
        ("S-LOC B-LOC E-LOC", {("LOC", 0, 0), ("LOC", 1, 2)}),
        ("NOUN NOUN O VERB", {("NOUN", 0, 1), ("VERB", 3, 3)}),
        ("O O", set()),
    ],
)
def test_entities_are_those_of_the_conll_script(tags: str, found: set[object]) -> None:
    assert entities(tags.split()) == found


def test_f1_counts_whole_entities_at_the_first_tokens_of_words() -> None:
    samples = tagged([[IGNORED, 1, 2, IGNORED, 0, IGNORED], [IGNORED, 3, 0, IGNORED]])
    right = [np.array([0, 1, 2, 4, 0, 0]), np.array([0, 3, 0, 0])]  # what tokens inside words say does not count
    assert TASK.measure(right, samples).value == 1.0
    short = [np.array([0, 1, 0, 4, 0, 0]), np.array([0, 3, 3, 0])]  # one entity too short, one too many
    assert TASK.measure(short, samples).value == pytest.approx(2 * 1 / (3 + 2))
    assert TASK.further(short, samples)[0].value == pytest.approx(3 / 5)
    assert TASK.agreement(short, right) == pytest.approx(8 / 10)
    assert TASK.changed(short, right) == 2


def test_the_loss_ignores_padding_and_special_tokens() -> None:
    samples = tagged([[IGNORED, 1, IGNORED], [IGNORED, 3, 0, 0, IGNORED]])
    labels = TASK.labels(samples, [0, 1], {"input_ids": np.zeros((2, 6), np.int64)})
    assert labels["labels"].shape == (2, 6)
    wanted = torch.from_numpy(labels["labels"])
    logits = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))
    found = TASK.loss({"logits": logits}, {"labels": wanted})
    assert float(found.count) == 4
    kept = wanted.reshape(-1) != IGNORED
    expected = torch.nn.functional.cross_entropy(logits.reshape(-1, 5)[kept], wanted.reshape(-1)[kept])
    assert float(found.mean()) == pytest.approx(float(expected))


def test_other_tokens_and_other_tags_are_errors() -> None:
    with pytest.raises(DataError, match="3 tokens are tagged, 2 have labels"):
        TASK.measure([np.zeros(3, np.int64)], tagged([[0, 1]]))
    with pytest.raises(DataError, match="tag 7 is none of the 5 tags"):
        TASK.measure([np.array([0, 7])], tagged([[0, 1]]))
    with pytest.raises(DataError, match=r"needs \[tokens, tags\]"):
        TASK.answer({"logits": np.zeros(3)}, {})
