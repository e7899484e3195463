"""What torch-pruning is told about norms that it does not know."""

from __future__ import annotations

import torch
from torch import nn

from edgeopt.prune.channels import prune_channels
from edgeopt.prune.config import PruneOptions
from edgeopt.prune.coupled import coupled_channels
from edgeopt.prune.pruners import own_pruners
from tests.prune.test_graphs import IMAGE, Net, conv


def test_a_root_mean_square_norm_loses_factors_of_its_last_axis() -> None:
    layer = nn.RMSNorm(6)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(6.0))
    pruner = own_pruners()[nn.RMSNorm]
    assert pruner.get_out_channels(layer) == pruner.get_in_channels(layer) == 6
    pruner.prune_out_channels(layer, [1, 4])
    assert layer.weight.tolist() == [0.0, 2.0, 3.0, 5.0]
    assert layer.normalized_shape == (4,) and layer(torch.ones(2, 4)).shape == (2, 4)


def test_an_instance_norm_loses_its_running_statistics_too() -> None:
    layer = nn.InstanceNorm2d(4, affine=True, track_running_stats=True).eval()
    assert layer.running_mean is not None
    layer.running_mean.copy_(torch.arange(4.0))
    own_pruners()[nn.InstanceNorm2d].prune_out_channels(layer, [0, 2])
    assert layer.running_mean.tolist() == [1.0, 3.0]
    assert layer.weight.shape == (2,) and layer(torch.zeros(1, 2, 3, 3)).shape == (1, 2, 3, 3)


def test_layers_are_cut_whose_sum_has_a_learned_weight() -> None:
    torch.manual_seed(0)
    model = Net(
        lambda net, image: net.head(
            (net.w[0] * net.a(net.stem(image)) + net.w[1] * net.b(net.stem(image))).relu().mean((2, 3))
        ),
        stem=conv(1, 16),
        a=conv(16, 16),
        b=conv(16, 16),
        w=nn.Parameter(torch.tensor([0.6, 0.4])),
        head=nn.Linear(16, 5),
    ).eval()
    assert coupled_channels(model, IMAGE).spared == {}
    found = prune_channels(model, IMAGE, options=PruneOptions(macs=0.3, round_to=4))
    assert model.a.out_channels == model.b.out_channels < 16 and model.w.shape == (2,)
    assert not found.spared
