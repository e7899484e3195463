"""Parameter groups, frozen parts, optimizers by name and from user code."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgeopt.errors import RecipeError
from edgeopt.train.config import ParameterGroup, TrainOptions
from edgeopt.train.optimizers import freeze, is_folded, make_optimizer, set_learning_rate, set_training


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def own(groups: list[dict[str, object]], rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=rate, momentum=0.5)


def test_vectors_get_no_weight_decay_and_groups_their_own_rate() -> None:
    model = network()
    options = TrainOptions(learning_rate=0.1, weight_decay=0.2, groups=[ParameterGroup(match="^2", learning_rate=0.01)])
    optimizer = make_optimizer(model, nn.Linear(2, 2, bias=False), options)
    found = {
        name: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for name, parameter in model.named_parameters()
        if any(parameter is one for one in group["params"])
    }
    assert found["0.weight"] == (0.1, 0.2)
    assert found["0.bias"] == found["1.weight"] == (0.1, 0.0)
    assert found["2.weight"] == (0.01, 0.2)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 7
    set_learning_rate(optimizer, 0.05)
    assert sorted({round(group["lr"], 6) for group in optimizer.param_groups}) == [0.005, 0.05]


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "rmsprop", "adafactor", f"{__name__}:own"])
def test_optimizers_by_name_lower_a_loss(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or type(sys)(__name__))
    monkeypatch.setattr(sys.modules[__name__], "own", own, raising=False)
    torch.manual_seed(0)
    model, inputs = nn.Linear(3, 1), torch.randn(20, 3)
    optimizer = make_optimizer(model, None, TrainOptions(optimizer=name, learning_rate=0.05))
    losses = []
    for _ in range(30):
        loss = (model(inputs) - inputs.sum(dim=1, keepdim=True)).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_frozen_normalisations_keep_their_statistics() -> None:
    model = network()
    frozen = freeze(model, ["^0", r"^1\."])
    assert frozen == ["0.weight", "0.bias", "1.weight", "1.bias"]
    set_training(model)
    assert model[0].training
    assert not model[1].training
    before = model[1].running_mean.clone()
    model(torch.randn(8, 3))
    assert torch.equal(before, model[1].running_mean)


def test_folded_normalisations_compute_the_same_in_training() -> None:
    torch.manual_seed(0)
    model, rows = network(), 3 + torch.randn(64, 3)
    set_training(model)
    assert model[1].training  # a fresh one learns its statistics
    for _ in range(50):
        model(rows)
    assert not is_folded(model[1])  # has learned them
    linear, norm = model[0], model[1]
    scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
    with torch.no_grad():
        norm.bias.copy_(norm.bias + scale * (linear.bias - norm.running_mean))
        linear.weight.mul_(scale[:, None])
        linear.bias.zero_()
        norm.running_mean.zero_(), norm.running_var.fill_(1.0), norm.weight.fill_((1 + norm.eps) ** 0.5)
    model.eval()
    expected = model(rows)
    set_training(model)
    assert is_folded(norm) and model[0].training
    assert torch.equal(model(rows), expected)


@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        (["nothing"], "no parameter's name contains 'nothing'"),
        (["."], "leaves no parameter to train"),
        (["("], "not a regular"),
    ],
)
def test_patterns_that_do_not_fit_are_named(patterns: list[str], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        freeze(network(), patterns)


def test_groups_and_names_that_do_not_exist_are_named() -> None:
    with pytest.raises(RecipeError, match="no trained parameter is of the group 'head'"):
        make_optimizer(network(), None, TrainOptions(learning_rate=0.1, groups=[ParameterGroup(match="head")]))
    with pytest.raises(RecipeError, match="optimizer 'adamm' is not known"):
        TrainOptions.read({"optimizer": "adamm"}, where="test")
    with pytest.raises(RecipeError, match="cannot be made"):
        make_optimizer(network(), None, TrainOptions(learning_rate=0.1, optimizer="no_such_module:f"))
