from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeopt.errors import InternalError, ModelError
from edgeopt.quantize.training import checks
from edgeopt.quantize.training.checks import check_same
from edgeopt.quantize.training.run import TrainingRun


def test_module_agrees_with_its_own_graph(residual_run: TrainingRun) -> None:
    assert check_same(residual_run, residual_run.module.model, when="before training") > 40


@pytest.mark.parametrize(("when", "error"), [("before training", ModelError), ("after training", InternalError)])
def test_weights_that_differ_are_found_at_their_tensor(residual_run: TrainingRun, when: str, error: type[Exception]) -> None:
    with torch.no_grad():
        residual_run.module.rounded_weights()[0][0].mul_(1.5)
    with pytest.raises(error, match=r"part at '.*' \(.* dB"):
        check_same(residual_run, residual_run.module.model, when=when)


def test_answers_that_differ_are_refused_with_the_first_tensor_that_parts(
    residual_run: TrainingRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every operator is right alone, and yet two of a hundred answers are others."""
    found = checks._Output()
    logits = np.random.default_rng(0).standard_normal((100, 10)).astype(np.float32)
    logits[:, 3] += 10.0
    made = logits.copy()
    made[:2, 4] += 20.0
    found.add(logits, made)
    assert found.agreement(0.0) == pytest.approx(0.98)
    assert found.agreement(checks._NEAR_TIE) == pytest.approx(0.98)
    monkeypatch.setattr(checks, "_compared_outputs", lambda *_: {"y": found})
    with pytest.raises(
        ModelError, match=r"same answer on 98\.0% of the samples held aside only; they part at '.+' first; leave"
    ):
        check_same(residual_run, residual_run.module.model, when="before training")


def test_near_ties_count_as_equal_only_where_each_operator_is_right() -> None:
    found = checks._Output()
    logits = np.tile(np.array([[0.0, 1.0, 1.0 - 1e-3]], np.float32), (200, 1))
    made = logits + np.random.default_rng(1).normal(scale=1e-2, size=logits.shape).astype(np.float32)
    found.add(logits, made)
    assert found.agreement(0.0) < 0.9
    assert found.agreement(checks._NEAR_TIE) == 1.0


def test_outputs_that_are_no_classes_have_no_answers() -> None:
    found = checks._Output()
    found.add(np.zeros((2, 3, 4), np.float32), np.ones((2, 3, 4), np.float32))
    assert found.agreement(0.0) == 1.0
