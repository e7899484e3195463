"""Costs of channels: layers between two parts count half for each, at the other's last width."""

from __future__ import annotations

import torch
from torch import nn

from edgeopt.models.size import macs, parameters
from edgeopt.prune.allocation.layer_costs import Prices, layer_costs, layer_mac_costs, layer_parameter_costs
from edgeopt.prune.coupled import coupled_channels
from tests.prune.test_graphs import IMAGE, Net, conv

ONE = {"image": IMAGE["image"][:1]}


def chain(first: int = 8, second: int = 8) -> Net:
    return Net(
        lambda net, image: net.head(torch.relu(net.b(net.a(image))).mean((2, 3))),
        a=conv(1, first, bias=False),
        b=conv(first, second, bias=False),
        head=nn.Linear(second, 5, bias=False),
    ).eval()


def test_the_sum_is_right_once_the_choice_is_settled() -> None:
    model = chain()
    parts = coupled_channels(model, IMAGE).parts
    for make, count in ((layer_mac_costs, macs), (layer_parameter_costs, lambda net, _: parameters(net))):
        costs = make(model, parts, ONE)
        assert costs.settle is not None
        assert costs.whole(parts) == count(model, ONE)
        counts = {"a": 4, "b": 2}
        costs.settle(counts)
        assert costs.total(parts, counts) == count(chain(4, 2), ONE)


def test_sizes_are_asked_for_before_they_are_used() -> None:
    model = chain()
    parts = coupled_channels(model, IMAGE).parts
    known: set[tuple[str, int, int]] = set()

    def cost(name: str, inputs: int, outputs: int) -> float:
        assert (name, inputs, outputs) in known
        return 1.0

    grid = {"a": [2, 4], "b": [4]}
    costs = layer_costs(model, parts, Prices("ms", cost, 3.0, known.update), grid=grid)
    first = next(part for part in parts if part.name == "a")
    assert [costs.of(first, count) for count in (2, 4, 8)] == [1.5, 1.5, 1.5]
    assert costs.settle is not None
    costs.settle({"a": 2, "b": 4})
    assert ("b", 2, 8) in known and costs.total(parts, {"a": 2, "b": 4}) == 3.0
