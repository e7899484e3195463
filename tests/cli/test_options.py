"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeopt.cli.options import inputs_line, need_format, print_checks, read_inputs, read_undecided
from edgeopt.errors import RecipeError
from edgeopt.report.checks import Check
from edgeopt.verdict.exit_code import Undecided


def test_a_value_that_is_none_of_those_allowed_is_refused() -> None:
    assert read_undecided("pass") is Undecided.PASS and need_format("json") == "json"
    with pytest.raises(RecipeError, match="--undecided maybe: choose pass or fail"):
        read_undecided("maybe")
    with pytest.raises(RecipeError, match=r"--format markdwn \(did you mean 'markdown'\?\): choose table, json, markdown"):
        need_format("markdwn")


def test_random_inputs_are_said_to_be_random() -> None:
    shapes = {"x": ["float32 [1, 3]", "float32 [2, 3]"]}
    assert inputs_line(shapes, given=True) == "inputs: x float32 [1, 3] or float32 [2, 3]"
    assert inputs_line(shapes, given=False).startswith("random inputs: x") and "--data" in inputs_line(shapes, given=False)


def test_inputs_come_from_data_or_are_random(small: Path) -> None:
    model = small / "model.onnx"
    given = read_inputs(model, str(small / "data.npz"), None, count=2)
    assert len(given) == 2 and (given[0]["x"] == 1).all()
    drawn = read_inputs(model, None, None, count=3)
    assert len(drawn) == 3 and drawn[0]["x"].shape[1:] == (16,) and np.ptp(drawn[0]["x"]) > 0


@pytest.mark.parametrize(("form", "text"), [("github", "::error title="), ("junit", "<failure")])
def test_checks_are_printed_for_continuous_integration(form: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_checks([Check("suite", "p95 < 1", "fail", "1.2 ms")], form)
    assert text in capsys.readouterr().out
