from __future__ import annotations

import pytest
import torch

from edgeopt.quantize.training.blocks import whole
from edgeopt.quantize.training.rates import Rates, groups, warmed
from edgeopt.quantize.training.run import TrainingRun


def test_a_weight_s_rate_is_a_share_of_its_step_and_its_scale_stays(residual_run: TrainingRun) -> None:
    block = whole(residual_run.module)
    found = groups(block, Rates(weights=0.5, scales=1e-3))
    rates = {id(parameter): group["lr"] for group in found for parameter in group["params"]}  # type: ignore[attr-defined]
    for weight, grid in block.weights:
        assert rates[id(weight)] == pytest.approx(0.5 * float(grid.start))
        assert id(grid.ratio) not in rates
    assert sum(rate == 1e-3 for rate in rates.values()) == len(block.grids) - len(block.weights)


def test_rates_warm_up_and_fall_to_nothing() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{"params": [parameter], "lr": 2.0, "highest": 2.0}])
    seen = []
    for share, step in ((0.0, 0), (0.0, 9), (0.5, 50), (1.0, 100)):
        warmed(optimizer, share, step)
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == pytest.approx([0.2, 2.0, 1.0, 0.0])
