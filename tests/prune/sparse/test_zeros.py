"""Zeros stay zeros while a model is trained."""

from __future__ import annotations

import torch
from torch import nn

from edgeopt.prune.sparse.zeros import kept_zeros


def test_an_optimizer_moves_the_others_and_not_the_zeros() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3))
    with torch.no_grad():
        model[0].weight[:, 1] = 0
    before = model[0].weight.detach().clone()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    with kept_zeros(model, ["0"]):
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(5, 4)).pow(2).sum().backward()
            optimizer.step()
            assert not model[0].weight[:, 1].any()
    assert (model[0].weight != before)[:, [0, 2, 3]].all()
    assert not model[0].weight._backward_hooks
