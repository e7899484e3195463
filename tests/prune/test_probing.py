"""Where channels arrive, whatever lies between: found by changing them."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from edgeopt.prune.probing import reach_of, sources
from tests.prune.test_graphs import IMAGE, Net, conv


def test_shuffled_channels_arrive_where_they_are_read() -> None:
    def forward(net: Net, image: torch.Tensor) -> torch.Tensor:
        y = torch.relu(net.first(image))
        shuffled = y.view(len(y), 2, 3, 8, 8).transpose(1, 2).reshape(len(y), 6, 8, 8)
        return net.head(net.last(shuffled).mean((2, 3)))

    net = Net(forward, first=conv(1, 6), last=conv(6, 4), head=nn.Linear(4, 2)).eval()
    found = reach_of(net, IMAGE, ["first", "last"])
    assert found["first"].places == {("last", "in"): {0: 0, 1: 3, 2: 1, 3: 4, 4: 2, 5: 5}}
    assert found["last"].places == {("head", "in"): {0: 0, 1: 1, 2: 2, 3: 3}} and not found["last"].mixed


def test_channels_that_influence_each_other_are_mixed() -> None:
    norm = Net(
        lambda net, image: net.head(net.norm(net.first(image)).mean((2, 3))),
        first=conv(1, 4),
        norm=nn.GroupNorm(1, 4),
        head=nn.Linear(4, 2),
    )
    pooled = Net(
        lambda net, image: net.head(functional.avg_pool3d(net.first(image)[:, None], 2)[:, 0].mean((2, 3))),
        first=conv(1, 4),
        head=nn.Linear(2, 2),
    )
    out = Net(lambda net, image: net.first(image), first=conv(1, 4))
    assert reach_of(norm.eval(), IMAGE, ["first"])["first"].mixed == "head"
    assert reach_of(pooled.eval(), IMAGE, ["first"])["first"].mixed == "head"
    assert reach_of(out.eval(), IMAGE, ["first"])["first"].mixed == "an output of the model"


def test_layers_that_are_added_have_one_numbering() -> None:
    net = Net(
        lambda net, image: net.head((net.a(image) + net.norm(net.b(image))).mean((2, 3))),
        a=conv(1, 3),
        b=conv(1, 3),
        norm=nn.BatchNorm2d(3),
        head=nn.Linear(3, 2),
    ).eval()
    each = {0: {0}, 1: {1}, 2: {2}}
    found = sources(reach_of(net, IMAGE, ["a", "b"]))
    assert found == {"a": {("a", "out"): each, ("b", "out"): each, ("head", "in"): each, ("norm", "out"): each}}
