from __future__ import annotations

import pytest
import torch

from edgeopt.errors import InternalError, ModelError
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
