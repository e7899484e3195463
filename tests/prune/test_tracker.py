"""Original channels that are left while torch-pruning removes them, layer by layer."""

from __future__ import annotations

import pytest
import torch
import torch_pruning
from torch import nn

from edgeopt.prune.result import LayerWidth
from edgeopt.prune.tracker import Tracker, UntrackedCutError


def _graph(model: nn.Module) -> torch_pruning.DependencyGraph:
    return torch_pruning.DependencyGraph().build_dependency(model, torch.zeros(1, 3))


def test_channels_are_counted_in_the_unpruned_layer_after_two_cuts() -> None:
    model = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Linear(6, 2)).eval()
    graph, tracked = _graph(model), Tracker(model)
    for gone in ([0, 3], [1]):  # of what is left: 1, 2, 4, 5
        group = graph.get_pruning_group(model[0], torch_pruning.prune_linear_out_channels, gone)
        tracked.note(group, graph)
        group.prune()
    assert tracked.kept() == {"0": {"out": [1, 4, 5]}, "1": {"out": [1, 4, 5]}, "2": {"in": [1, 4, 5]}}
    assert tracked.layers() == (LayerWidth("0", 6, 3),)


def test_a_layer_that_cannot_be_rebuilt_is_named() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    graph = _graph(model)
    group = graph.get_pruning_group(model[0], torch_pruning.prune_linear_out_channels, [0])
    tracked = Tracker(model)
    tracked._left.clear()
    with pytest.raises(UntrackedCutError, match=r"Linear '0' cannot be cut on its side 'out'"):
        tracked.note(group, graph)
