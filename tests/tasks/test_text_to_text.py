"""Sequence to sequence: what a model writes becomes texts; error rates and BLEU; labels are the texts' tokens."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from edgeopt.data.annotations import IGNORED, Words
from edgeopt.data.samples import Samples, from_arrays
from edgeopt.errors import DataError
from edgeopt.tasks.text_to_text import TextToText, Transcription

VOCABULARY = ["", "guten", "tag", "welt", "hallo"]


def to_text(ids: list[int]) -> str:
    return " ".join(VOCABULARY[number] for number in ids if number)


def translated(rows: list[tuple[int, ...]]) -> Samples:
    samples = from_arrays({"x": np.zeros((len(rows), 1), np.float32)})
    return replace(samples, annotations=[to_text(list(row)) for row in rows], contexts=[Words(row, to_text) for row in rows])


class Writer(nn.Module):
    def generate(self, x: torch.Tensor, **_: object) -> torch.Tensor:
        return torch.tensor([[0, 4, 3]] * len(x))


def test_what_a_model_writes_is_judged_as_text() -> None:
    samples = translated([(4, 3), (1, 2)])
    outputs = TextToText().predict(Writer(), {"x": torch.zeros(2, 1)})
    answers = [
        TextToText().answer({"sequences": row.numpy()}, {}, about)
        for row, about in zip(outputs["sequences"], samples.contexts or [], strict=True)
    ]
    assert answers == ["hallo welt", "hallo welt"]
    pytest.importorskip("jiwer")
    assert Transcription().measure(answers, samples).value == 0.5


def test_labels_are_the_tokens_of_the_texts() -> None:
    labels = TextToText().labels(translated([(4, 3), (1,)]), [0, 1], {})
    assert labels["labels"].tolist() == [[4, 3], [1, IGNORED]]
    found = TextToText().loss({"logits": torch.zeros(2, 2, 5)}, {"labels": torch.from_numpy(labels["labels"])})
    assert float(found.count) == 3
    assert float(found.mean()) == pytest.approx(np.log(5), rel=1e-6)


def test_models_that_cannot_write_are_errors() -> None:
    with pytest.raises(DataError, match="Linear cannot generate"):
        TextToText().predict(nn.Linear(1, 1), {})
    with pytest.raises(DataError, match="needs the tokens that a model wrote"):
        TextToText().answer({"encoder": np.zeros((3, 4))}, {}, None)


def test_a_model_is_given_the_text_so_far() -> None:
    model = nn.Linear(1, 1)
    model.config = SimpleNamespace(decoder_start_token_id=2, pad_token_id=0)  # type: ignore[assignment]
    task, samples = TextToText(), translated([(4, 3, 1), (2, 1)])
    found = task.with_answers(samples, model)
    batch = found.collate([0, 1])
    assert batch["decoder_input_ids"].tolist() == [[2, 4, 3], [2, 0, 0]], "a 2 that begins the text is not given twice"
    assert batch["decoder_attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert task.labels(found, [0, 1], batch)["labels"].tolist() == [[4, 3, 1], [1, IGNORED, IGNORED]]
    assert task.labels(found, [1], batch)["labels"].tolist() == [[1, IGNORED, IGNORED]], "as wide as what was given"
    assert task.with_answers(found, model) is found
    with pytest.raises(DataError, match="has no decoder_start_token_id"):
        task.with_answers(samples, nn.Linear(1, 1))


def test_a_student_learns_of_the_tokens_of_texts_alone() -> None:
    assert [one.mask for one in TextToText().soft_labels()] == ["decoder_attention_mask"]
