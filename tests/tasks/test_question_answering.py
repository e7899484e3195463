"""Extractive question answering: SQuAD's F1 and exact match, spans from logits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgeopt.data.annotations import SpanTruth
from edgeopt.data.samples import Samples, from_arrays
from edgeopt.errors import DataError
from edgeopt.tasks.decoding import inference
from edgeopt.tasks.question_answering import QuestionAnswering, word_f1

TASK = QuestionAnswering()
TEXT = "The red fox sleeps."


def asked(truths: list[SpanTruth]) -> Samples:
    return replace(from_arrays({"x": np.zeros((len(truths), 1), np.float32)}), annotations=truths)


@pytest.mark.parametrize(
    ("answer", "truth", "f1"),
    [("the Red fox!", "red fox", 1.0), ("fox", "red fox", 2 / 3), ("cat", "red fox", 0.0), ("", "fox", 0.0), ("", "", 1.0)],
)
def test_case_punctuation_and_articles_do_not_count(answer: str, truth: str, f1: float) -> None:
    assert word_f1(answer, truth) == pytest.approx(f1)


def test_the_best_of_several_answers_counts() -> None:
    samples = asked([SpanTruth(1, 2, ("red fox", "fox")), SpanTruth(0, 0, ())])
    assert TASK.measure(["fox", ""], samples).value == 1.0
    assert TASK.measure(["fox", "red"], samples).value == 0.5
    assert TASK.further(["fox", "red"], samples)[0].value == 0.5


def test_the_span_with_the_largest_product_is_read_from_the_text() -> None:
    offsets = [(0, 0), (0, 0), (0, 3), (4, 7), (8, 11), (12, 18), (0, 0)]
    tokens = inference("decoding").Tokens(TEXT, offsets, [None, 0, 1, 1, 1, 1, None])
    start, end = np.zeros(7), np.zeros(7)
    start[3], end[4], start[1] = 5.0, 5.0, 9.0  # the question itself cannot be the answer
    assert TASK.answer({"start_logits": start, "end_logits": end}, {}, tokens) == "red fox"
    with pytest.raises(DataError, match="needs the outputs start_logits and end_logits; the model has logits"):
        TASK.answer({"logits": start}, {}, tokens)


def test_the_loss_is_the_mean_of_both_ends() -> None:
    labels = TASK.labels(asked([SpanTruth(1, 2, ("a",))]), [0], {})
    start, end = torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[0.0, 1.0, 2.0]])
    found = TASK.loss({"start_logits": start, "end_logits": end}, {name: torch.from_numpy(row) for name, row in labels.items()})
    rows = [float(torch.nn.functional.cross_entropy(start, torch.tensor([k]))) for k in (1, 2)]
    assert float(found.mean()) == pytest.approx(sum(rows) / 2)
