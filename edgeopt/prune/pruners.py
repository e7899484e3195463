"""What torch-pruning 1.6 cannot cut by itself: root mean square norms, and running statistics of instance norms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch_pruning.pruner import function


class _RmsNormPruner(function.BasePruningFunc):  # type: ignore[misc]
    """Cuts the last axis, as for a layer normalisation."""

    def prune_out_channels(self, layer: nn.RMSNorm, idxs: Sequence[int]) -> nn.Module:
        """Remove the channels `idxs`."""
        kept = _kept(layer.normalized_shape[-1], idxs)
        if layer.weight is not None:
            layer.weight = self._prune_parameter_and_grad(layer.weight, kept, layer.weight.ndim - 1)
        layer.normalized_shape = (*layer.normalized_shape[:-1], len(kept))
        return layer

    prune_in_channels = prune_out_channels

    def get_out_channels(self, layer: nn.RMSNorm) -> int:
        """Return the number of channels."""
        return layer.normalized_shape[-1]

    get_in_channels = get_out_channels


class _InstanceNormPruner(function.InstanceNormPruner):  # type: ignore[misc]
    """Cuts the running statistics, too."""

    def prune_out_channels(self, layer: nn.Module, idxs: Sequence[int]) -> nn.Module:
        """Remove the channels `idxs`."""
        for name in ("running_mean", "running_var"):
            statistic = getattr(layer, name)
            if statistic is not None:
                setattr(layer, name, statistic[torch.tensor(_kept(len(statistic), idxs))])
        pruned: nn.Module = super().prune_out_channels(layer, idxs)
        return pruned

    prune_in_channels = prune_out_channels


def _kept(whole: int, removed: Sequence[int]) -> list[int]:
    return sorted(set(range(whole)) - set(removed))


def own_pruners() -> Mapping[type[nn.Module], function.BasePruningFunc]:
    """Return what torch-pruning is to cut layers with, by their class."""
    instance = _InstanceNormPruner()
    return {
        nn.RMSNorm: _RmsNormPruner(),
        nn.InstanceNorm1d: instance,
        nn.InstanceNorm2d: instance,
        nn.InstanceNorm3d: instance,
    }
