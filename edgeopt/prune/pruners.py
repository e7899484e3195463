"""What torch-pruning 1.6 misses: root mean square norms, statistics of instance norms, weights that channels share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import nn
from torch_pruning import DependencyGraph
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


def keep_shared_weights(
    graph: DependencyGraph, ignored: Iterable[nn.Module], roots: Sequence[type[nn.Module]] | None = None
) -> None:
    """Have `graph` leave parameters whole that have fewer elements than the channels they multiply.

    torch-pruning takes each parameter that is in no known layer for one with an element per channel. A learned weight of a sum,
    ``w[0] * x + w[1] * y``, has one per summand: channels that depend on it could never be cut.

    Args:
        graph: built; its ignored parameters become more.
        ignored: layers that are no roots of groups.
        roots: classes of layers that are; None: torch-pruning's own.
    """
    known = {} if roots is None else {"root_module_types": list(roots)}
    for group in list(graph.get_all_groups(ignored_layers=list(ignored), **known)):
        for item in group:
            target = item.dep.target
            if isinstance(target.module, nn.Parameter) and target.module.shape[target.pruning_dim] < len(set(item.idxs)):
                graph.ignored_params.append(target.module)
