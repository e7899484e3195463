from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from edgeopt.quantize.training.operators.elementwise import ELEMENTWISE

_WITHOUT_CASES = {"Cast", "CastLike"}  # ONNX's own are about types of less than 16 bits and strings


@pytest.mark.parametrize("name", [name for name in ELEMENTWISE if "." not in name and name not in _WITHOUT_CASES])
def test_operator_gives_what_onnx_says_or_refuses(name: str, check_cases: Callable[[str, Callable[..., Any]], int]) -> None:
    assert check_cases(name, ELEMENTWISE[name]) >= 1


def test_cast_rounds_towards_zero_and_knows_its_types() -> None:
    values = torch.tensor([-1.7, 0.2, 2.9])
    assert ELEMENTWISE["Cast"]({"to": 7}, values).tolist() == [-1, 0, 2]
    assert ELEMENTWISE["CastLike"]({}, values, torch.zeros(1, dtype=torch.bool)).tolist() == [True, True, True]
    with pytest.raises(NotImplementedError, match="type 8"):
        ELEMENTWISE["Cast"]({"to": 8}, values)


def test_contrib_activations_are_their_definitions() -> None:
    x = torch.linspace(-4, 4, 33)
    quick = ELEMENTWISE["com.microsoft.QuickGelu"]({"alpha": 1.0}, x)
    np.testing.assert_allclose(quick.numpy(), (x / (1 + torch.exp(-x))).numpy(), rtol=1e-5, atol=1e-6)
    gelu = 0.5 * x * (1 + torch.erf(x / 2**0.5))
    np.testing.assert_allclose(ELEMENTWISE["com.microsoft.Gelu"]({}, x).numpy(), gelu.numpy(), rtol=1e-5, atol=1e-6)
    biased = ELEMENTWISE["com.microsoft.BiasGelu"]({}, x - 1, torch.ones(1))
    np.testing.assert_allclose(biased.numpy(), gelu.numpy(), rtol=1e-5, atol=1e-6)
