from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from edgeopt.errors import ModelError
from edgeopt.export.family import Input, Task, random_samples
from edgeopt.export.registry import load_family


def test_tasks_are_read_off_the_head_and_a_missing_head_is_told():
    family = load_family("bert")
    assert family.task_of("BertForTokenClassification", None) == "token-classification"
    assert family.task_of("BertModel", "sentence-similarity") == "sentence-similarity"
    assert load_family("vit").task_of("ViTModel", "feature-extraction") == "image-feature-extraction"
    with pytest.raises(ModelError, match=r"no head for text-classification; .* ends in ForSequenceClassification"):
        family.task_of("BertModel", "text-classification")
    with pytest.raises(ModelError, match=r"no task 'token-classificatoin' \(did you mean 'token-classification'\?\)"):
        family.task_of("BertModel", "token-classificatoin")


def test_random_samples_have_three_shapes_and_consistent_axes():
    shape = ("batch", "past_sequence + sequence")
    task = Task(
        ("Model",),
        "AutoModel",
        lambda config: {
            "ids": Input(("batch", "sequence"), "tokens"),
            "mask": Input(shape, "mask"),
            "past": Input(("batch", 2)),
        },
        (),
    )
    samples = random_samples(task, SimpleNamespace(vocab_size=9))
    assert len({batch["ids"].shape for batch in samples}) == 3
    assert [batch["mask"].shape[1] - batch["ids"].shape[1] for batch in samples] == [4, 3, 6]
    assert all(batch["ids"].max() < 9 and batch["mask"][:, 0].all() for batch in samples)
    again = random_samples(task, SimpleNamespace(vocab_size=9))
    assert all(np.array_equal(a["past"], b["past"]) for a, b in zip(samples, again, strict=True))
