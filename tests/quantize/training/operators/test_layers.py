from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edgeopt.quantize.training.operators.layers import LAYERS


@pytest.mark.parametrize("name", [name for name in LAYERS if "." not in name])
def test_operator_gives_what_onnx_says_or_refuses(name: str, check_cases: Callable[[str, Callable[..., Any]], int]) -> None:
    assert check_cases(name, LAYERS[name]) >= 1
