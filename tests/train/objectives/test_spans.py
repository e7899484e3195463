"""Spans that two tokenizers share."""

from __future__ import annotations

import math

import pytest
import torch

from edgeopt.train.objectives.spans import aligned_spans, span_likelihoods


def test_spans_are_the_smallest_that_both_tokenizers_share() -> None:
    # "unhappy cat": [CLS] un happy _cat   against   unhap py _c at
    first = [(0, 0), (0, 2), (2, 7), (7, 11)]
    second = [(0, 5), (5, 7), (7, 9), (9, 11)]
    assert aligned_spans(first, second) == [(range(1, 3), range(2)), (range(3, 4), range(2, 4))]


def test_a_span_has_the_product_of_its_tokens() -> None:
    student = torch.tensor([0.5, 0.4, 0.2], dtype=torch.float64).log().requires_grad_()
    teacher = torch.tensor([0.6, 0.3], dtype=torch.float64).log()
    spans = [(range(2), range(1)), (range(2, 3), range(1, 2))]
    expected = sum(p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)) for p, q in ((0.6, 0.2), (0.3, 0.2)))
    loss = span_likelihoods(student, teacher, spans, reduction="sum")
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    loss.backward()
    assert student.grad is not None
    assert (student.grad < 0).all()  # the teacher finds all of it more likely


def test_no_shared_span_costs_nothing() -> None:
    assert span_likelihoods(torch.zeros(2), torch.zeros(2), []).item() == 0.0
