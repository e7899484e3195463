"""Attention maps against a plain reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeopt.train.objectives.attention_maps import attention_maps


def softmax(values: np.ndarray) -> np.ndarray:
    exponents = np.exp(values - values.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def test_maps_are_compared_per_head_and_query() -> None:
    q, p = softmax(np.random.default_rng(0).standard_normal((2, 2, 3, 4, 4)))
    expected = (p * np.log(p / q)).sum(axis=-1).mean(axis=1).mean()
    got = attention_maps([torch.tensor(q)], [torch.tensor(p)], mask=torch.ones(2, 4)).item()
    assert got == pytest.approx(expected, rel=1e-6)


def test_other_numbers_of_heads_are_averaged() -> None:
    generator = np.random.default_rng(0)
    q, p = softmax(generator.standard_normal((2, 2, 4, 4))), softmax(generator.standard_normal((2, 3, 4, 4)))
    mean_q, mean_p = q.mean(axis=1), p.mean(axis=1)
    expected = (mean_p * np.log(mean_p / mean_q)).sum(axis=-1).mean()
    got = attention_maps([torch.tensor(q)], [torch.tensor(p)], mask=torch.ones(2, 4)).item()
    assert got == pytest.approx(expected, rel=1e-6)
