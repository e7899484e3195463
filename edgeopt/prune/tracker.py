"""Follows which of each layer's original channels are left while a model is pruned."""

from __future__ import annotations

import numpy as np
import torch_pruning
from torch import nn

from edgeopt.models.kept import Kept, width
from edgeopt.models.reshape import shared_parameters
from edgeopt.prune.result import LayerWidth


class UntrackedCutError(Exception):
    """A cut that cannot be recorded, so that the model could not be rebuilt."""


class Tracker:
    """Which of each layer's, and of each parameter's, original channels are left, by name and side."""

    def __init__(self, model: nn.Module) -> None:
        self._names = {layer: name for name, layer in model.named_modules()}
        self._weighted = {name for layer, name in self._names.items() if width(layer, "in") or getattr(layer, "groups", 1) > 1}
        self._whole = {
            (name, side): count
            for layer, name in self._names.items()
            for side in ("out", "in")
            if (count := width(layer, side)) is not None
        }
        for name, parameter in model.named_parameters():
            self._whole |= {(name, f"axis{axis}"): size for axis, size in enumerate(parameter.shape)}
        self._tied = _tied(model)
        self._left = {place: np.arange(count) for place, count in self._whole.items()}

    def note(self, group: torch_pruning.Group, graph: torch_pruning.DependencyGraph) -> None:
        """Take out the channels that `group` is about to lose.

        Raises:
            UntrackedCutError: a layer is of a kind that `edgeopt.models.kept` cannot cut, or has a parameter of another layer.
        """
        for dependency, indices in group:
            target = dependency.target.module
            if target in self._tied:
                one, other = self._tied[target]
                raise UntrackedCutError(f"'{one}' and '{other}' have one parameter, which would be cut apart")
            if isinstance(target, nn.Parameter):
                place = graph._param_to_name.get(target, ""), f"axis{dependency.target.pruning_dim % target.ndim}"
            elif target in self._names:
                place = self._names[target], "out" if graph.is_out_channel_pruning_fn(dependency.handler) else "in"
            else:
                continue  # an operator without weights
            if place in self._left:
                self._left[place] = np.delete(self._left[place], sorted(set(indices)))
            elif next(target.parameters(recurse=False), None) is not None and not isinstance(target, nn.PReLU):
                raise UntrackedCutError(f"{type(target).__name__} '{place[0]}' cannot be cut on its side '{place[1]}'")

    def layers(self) -> tuple[LayerWidth, ...]:
        """Return the convolutions and linear layers that lost output channels."""
        return tuple(
            LayerWidth(name, self._whole[name, "out"], len(left))
            for (name, side), left in self._left.items()
            if side == "out" and name in self._weighted and len(left) < self._whole[name, "out"]
        )

    def kept(self) -> Kept:
        """Return the indices that are left, of every side that lost some."""
        kept: dict[str, dict[str, list[int]]] = {}
        for (name, side), left in self._left.items():
            if len(left) < self._whole[name, side]:
                kept.setdefault(name, {})[side] = left.tolist()
        return kept  # type: ignore[return-value]


def _tied(model: nn.Module) -> dict[nn.Module, tuple[str, str]]:
    """Return the layers that have a parameter of another layer, each with the names of both."""
    found: dict[nn.Module, tuple[str, str]] = {}
    for group in shared_parameters(model):
        owners: dict[nn.Module, str] = {}
        for parameter in group:
            layer = parameter.rpartition(".")[0]
            owners.setdefault(model.get_submodule(layer), layer)
        if len(owners) > 1:  # (a layer that is used twice is one owner)
            one, other, *_ = owners.values()
            found |= dict.fromkeys(owners, (one, other))
    return found
