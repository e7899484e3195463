"""A model that amplifies rounding may differ by more; one that does not may not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from edgeopt.export.program import Program
from edgeopt.export.result import Parity
from edgeopt.export.rounding import COARSER, allow_for_rounding, remark, rounding_error

BATCH = {"x": np.linspace(0.1, 1.0, 16, dtype=np.float32).reshape(2, 8)}
FAILED = Parity(1e-3, 1e-3, 1e-4, 2, ("x 2×8",), passed=False)


class Amplifying(torch.nn.Module):
    """Loses the last bits of its input in a large sum, as large activations do."""

    def __init__(self, large: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(large))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x + self.weight) - self.weight


def program(module: torch.nn.Module) -> Program:
    made = Program(module.eval(), ["x"])
    made.name_outputs([torch.from_numpy(BATCH["x"])])
    return made


def test_the_error_is_that_of_float32_and_the_model_is_left_alone() -> None:
    made = program(Amplifying(4096.0))
    step = 2.0**-11  # between neighbours of 4096 in float32
    assert step / 8 < rounding_error(made, [BATCH]) <= step / 2
    assert rounding_error(program(Amplifying(0.0)), [BATCH]) == 0.0
    assert made.module.weight.dtype == torch.float32


@pytest.mark.parametrize(("large", "error", "passed"), [(4096.0, 1e-3, True), (4096.0, 1e-1, False), (1.0, 1e-3, False)])
def test_only_a_model_that_amplifies_may_differ_by_more(large: float, error: float, passed: bool) -> None:
    found = allow_for_rounding(replace(FAILED, relative_error=error), program(Amplifying(large)), [BATCH])
    assert found.passed is passed
    assert found.relative_error == error
    said = " ".join(remark(found, FAILED.tolerance))
    assert ("amplifies rounding" in said) == (large == 4096.0)


class Flipping(Amplifying):
    """Answers 0 or 1 by a sum that float32 rounds to 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (super().forward(x) > 0).to(x.dtype)


def test_a_model_whose_answer_flips_with_the_last_bit_does_not_let_every_export_pass() -> None:
    made = program(Flipping(1e9))
    assert rounding_error(made, [BATCH]) == 1.0
    found = allow_for_rounding(replace(FAILED, relative_error=0.5), made, [BATCH])
    assert not found.passed
    assert found.tolerance == 0.01, "float16's"


def test_a_comparison_that_passed_and_code_that_wants_float32_stay_as_they_are() -> None:
    class Single(Amplifying):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert x.dtype == torch.float32
            return super().forward(x)

    assert allow_for_rounding(FAILED, program(Single(4096.0)), [BATCH]) == FAILED

    def refuse(*_: Any) -> Any:
        raise AssertionError

    passed = replace(FAILED, passed=True)
    made = program(Amplifying(4096.0))
    made.run = refuse  # type: ignore[method-assign]
    assert allow_for_rounding(passed, made, [BATCH]) is passed
    assert COARSER >= 14, "what was measured of SmolLM2 after LoRA"
