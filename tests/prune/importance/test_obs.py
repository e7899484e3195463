"""OBS against a slow plain reference: the best remaining weights by least squares, and the error they leave."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from edgeopt.prune.importance import obs
from edgeopt.prune.structure.parts import Cut, Kind, Part


def _case(units: int, width: int) -> tuple[nn.Module, Part, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.ModuleDict({"down": nn.Linear(units * width, 5)})
    inputs = torch.randn(200, units * width) @ torch.randn(units * width, units * width)
    moment = (inputs.T @ inputs / 200).double()
    return model, Part("x", Kind.HEADS, units, (), (Cut("down", "in", width),)), moment


def _least_squares(rows: torch.Tensor, moment: torch.Tensor, chosen: list[int]) -> tuple[torch.Tensor, float]:
    best = torch.zeros_like(rows)
    best[:, chosen] = torch.linalg.solve(moment[chosen][:, chosen], (rows @ moment[:, chosen]).T).T
    change = rows - best
    return best, float(((change @ moment) * change).sum())


@pytest.mark.parametrize(("units", "width"), [(6, 1), (4, 3)])
def test_weights_and_error_are_those_of_least_squares(units: int, width: int) -> None:
    model, part, moment = _case(units, width)
    rows = model["down"].weight.detach().double()
    damped = obs.damped(moment)
    for step in obs.removals(part, model, {"down": moment}, range(1, units)):
        best, error = _least_squares(rows, damped, part.readers[0].channels(step.kept))
        assert torch.allclose(step.rows["down"].double(), best, atol=1e-4), (step.rows["down"] - best).abs().max()
        assert step.error == pytest.approx(error, rel=1e-6)


def test_the_first_unit_to_go_is_the_cheapest_of_all() -> None:
    model, part, moment = _case(5, 2)
    rows, damped = model["down"].weight.detach().double(), obs.damped(moment)
    errors = {
        kept: _least_squares(rows, damped, part.readers[0].channels(kept))[1] for kept in itertools.combinations(range(5), 4)
    }
    (step,) = obs.removals(part, model, {"down": moment}, [4])
    assert step.kept == min(errors, key=lambda kept: errors[kept])


def test_nothing_is_left_at_zero_units() -> None:
    model, part, moment = _case(3, 2)
    (step,) = obs.removals(part, model, {"down": moment}, [0])
    assert step.kept == () and not step.rows["down"].any()
