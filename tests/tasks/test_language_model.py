"""Language models: perplexity, next tokens, KL."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeopt.data.annotations import IGNORED
from edgeopt.data.samples import from_arrays
from edgeopt.errors import DataError
from edgeopt.tasks.language_model import LanguageModel

TASK = LanguageModel()
IDS = np.array([[1, 2, 0], [2, 2, 1]])


def test_perplexity_is_over_all_tokens_of_all_windows() -> None:
    samples = from_arrays({"input_ids": IDS})
    assert TASK.is_labelled(samples)
    logits = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    answers = [TASK.answer({"logits": row}, samples[index]) for index, row in enumerate(logits)]
    expected = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits[:, :-1]).reshape(-1, 4), torch.from_numpy(IDS[:, 1:]).reshape(-1)
    )
    assert TASK.measure(answers, samples).value == pytest.approx(float(expected.exp()), rel=1e-5)
    assert TASK.agreement(answers, answers) == 1.0
    assert TASK.metric.points_lost(20.0, 20.2) == pytest.approx(0.995, abs=1e-3)


def test_labels_are_the_next_tokens_and_stop_before_padding() -> None:
    labels = TASK.labels(
        from_arrays({"input_ids": IDS}), [0, 1], {"input_ids": IDS, "attention_mask": np.array([[1, 1, 1], [1, 1, 0]])}
    )
    assert labels["labels"].tolist() == [[2, 0, IGNORED], [2, IGNORED, IGNORED]]


def test_kl_is_of_the_reference() -> None:
    p, q = np.array([[0.5, 0.5]]), np.array([[0.9, 0.1]])
    total, count = TASK.distances({"logits": np.log(q)}, {"logits": np.log(p)})["KL"]
    assert total / count == pytest.approx(float((p * np.log(p / q)).sum()), rel=1e-5)


def test_outputs_that_are_no_logits_of_the_tokens_are_an_error() -> None:
    with pytest.raises(DataError, match=r"needs \[tokens, vocabulary\]"):
        TASK.answer({"logits": np.zeros((1, 4))}, {"input_ids": IDS[0]})
