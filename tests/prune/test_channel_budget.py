"""Channels to a budget of parameters or latency, by bisection over multiply-accumulates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgeopt.errors import ModelError
from edgeopt.models.residual_cnn import ResidualCNN
from edgeopt.models.size import macs, parameters
from edgeopt.prune.channel_budget import prune_channels_to
from edgeopt.prune.config import PruneOptions
from tests.prune.test_graphs import Net

_IMAGE = {"image": np.random.default_rng(0).random((2, 1, 8, 8)).astype(np.float32)}


def _network() -> ResidualCNN:
    torch.manual_seed(0)
    return ResidualCNN(width=16, stages=1, blocks=1).eval()


def test_the_largest_network_that_fits_is_found() -> None:
    model = _network()
    before = parameters(model)
    options = PruneOptions(parameters=0.6, round_to=2)
    done, allocation = prune_channels_to(model, _IMAGE, options=options, loss=None, cost=parameters, unit="parameters")
    assert 0.4 * before < parameters(model) <= 0.6 * before
    assert allocation.planned == parameters(model) and allocation.whole == before
    assert done.macs_after == macs(model, _IMAGE)


def test_a_budget_that_cannot_be_met_says_the_best() -> None:
    options = PruneOptions(latency="0.5x", round_to=4)
    with pytest.raises(ModelError, match=r"latency 0\.5x cannot be reached: the best that was found is 8 ms of 8"):
        prune_channels_to(_network(), _IMAGE, options=options, loss=None, cost=lambda _: 8.0, unit="ms")


def test_a_network_that_cannot_be_pruned_says_why() -> None:
    model = Net(lambda net, image: net.head(image.mean((2, 3))), head=nn.Linear(1, 3))
    with pytest.raises(ModelError, match=r"parameters 0\.5x cannot be reached: pruning stopped at 100%"):
        prune_channels_to(
            model,
            _IMAGE,
            options=PruneOptions(parameters=0.5),
            loss=None,
            cost=parameters,
            unit="parameters",
        )
