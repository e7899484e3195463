"""Divergences between next-token distributions against plain references."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeopt.errors import ModelError
from edgeopt.train.objectives.tokens import Divergence, token_divergence


def softmax(values: np.ndarray) -> np.ndarray:
    exponents = np.exp(values - values.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


_STUDENT, _TEACHER = np.random.default_rng(0).standard_normal((2, 2, 3, 6)) * 2


def kl(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first * np.log(first / second)).sum(axis=-1)


@pytest.mark.parametrize(
    ("divergence", "reference"),
    [
        (Divergence("forward"), kl),
        (Divergence("reverse"), lambda p, q: kl(q, p)),
        (Divergence("js"), lambda p, q: 0.5 * kl(p, (p + q) / 2) + 0.5 * kl(q, (p + q) / 2)),
        (Divergence("js", 0.1), lambda p, q: 0.1 * kl(p, 0.1 * p + 0.9 * q) + 0.9 * kl(q, 0.1 * p + 0.9 * q)),
        (Divergence("skew"), lambda p, q: kl(p, 0.1 * p + 0.9 * q)),
        (Divergence("skew-reverse", 0.2), lambda p, q: kl(q, 0.2 * q + 0.8 * p)),
    ],
    ids=["forward", "reverse", "js", "js-0.1", "skew", "skew-reverse"],
)
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_each_kind_is_its_equation(divergence: Divergence, reference, temperature: float) -> None:  # type: ignore[no-untyped-def]
    mask = np.array([[1, 1, 0], [1, 1, 1]])
    p, q = softmax(_TEACHER / temperature), softmax(_STUDENT / temperature)
    expected = temperature**2 * (reference(p, q) * mask).sum() / 5
    chosen = Divergence(divergence.kind, divergence.mix, temperature)
    got = token_divergence(torch.tensor(_STUDENT), torch.tensor(_TEACHER), chosen, mask=torch.tensor(mask)).item()
    assert got == pytest.approx(expected, rel=1e-9)


def test_padded_vocabularies_are_cut_and_other_ones_refused() -> None:
    student, teacher = torch.tensor(_STUDENT), torch.tensor(_TEACHER)
    padded = torch.cat([teacher, torch.full((2, 3, 8), -50.0, dtype=torch.float64)], dim=-1)
    assert token_divergence(student, padded).item() == pytest.approx(token_divergence(student, teacher).item(), rel=1e-12)
    with pytest.raises(ModelError, match="other tokenizers"):
        token_divergence(torch.zeros(1, 2, 1000), torch.zeros(1, 2, 2000))
