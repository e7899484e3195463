"""Structured pruning over the dependency graph: coupled channels go together, and every layer really shrinks.

Fang et al. (2023), "DepGraph: Towards Any Structural Pruning", https://arxiv.org/abs/2301.12900, as torch-pruning has it:
layers whose channels must agree (across residual additions, normalisations, the next layer's input) form a group; a group's
channel is worth the norm of all weights that go with it (section 3.3), or what Molchanov et al. (2019),
https://arxiv.org/abs/1906.10771, equation 8, estimate the loss would change by. The least worthy go first, step by step, until
the multiply-accumulates fit.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch_pruning
from torch import Tensor, nn

from edgeopt import progress
from edgeopt.batches import Batch
from edgeopt.errors import ModelError, RecipeError, nearest
from edgeopt.models.call import to_tensors
from edgeopt.models.kept import Kept, width
from edgeopt.models.size import macs
from edgeopt.prune.config import PruneOptions
from edgeopt.prune.result import LayerWidth

_STEPS = 200


@dataclass(frozen=True)
class PrunedChannels:
    """What pruning did; `kept` rebuilds the structure from the unpruned model (see `edgeopt.models.kept`)."""

    macs_before: int
    macs_after: int
    layers: tuple[LayerWidth, ...]
    kept: Kept


def prune_channels(
    model: nn.Module, sample: Batch, *, options: PruneOptions, loss: Callable[[nn.Module], Tensor] | None = None
) -> PrunedChannels:
    """Remove channels from `model`, in place, until it needs at most `options.macs` of its multiply-accumulates.

    Args:
        model: traced once with `sample`.
        sample: one batch of real inputs.
        options: how much, and by which measure.
        loss: the loss on a few calibration batches, whose gradient the "taylor" importance needs.

    Raises:
        ModelError: the model cannot be traced, or nothing more can be removed before the share is reached.
        RecipeError: a layer to ignore is not there.
    """
    before = macs(model, sample)
    if options.importance == "taylor":
        if loss is None:
            raise RecipeError("prune.importance 'taylor' needs training data for its gradients; use 'magnitude'")
        model.zero_grad()
        loss(model).backward()  # type: ignore[no-untyped-call]
    pruner = _pruner(model, sample, options)
    tracked = _Tracker(model)
    after = before
    with progress.task("prune", total=_STEPS) as advance:
        for _ in range(_STEPS):
            if after <= options.macs * before:
                break
            for group in pruner.step(interactive=True):
                tracked.note(group, pruner.DG)
                group.prune()
                after = macs(model, sample)
                if after <= options.macs * before:
                    break
            advance()
    model.zero_grad()
    if after > options.macs * before:
        raise ModelError(
            f"pruning stopped at {after / before:.0%} of the multiply-accumulates, {options.macs:.0%} were asked for: "
            f"raise prune.macs or prune.max_layer_share, or lower prune.round_to"
        )
    return PrunedChannels(before, after, tracked.layers(), tracked.kept())


def _pruner(model: nn.Module, sample: Batch, options: PruneOptions) -> torch_pruning.pruner.BasePruner:
    layers = dict(model.named_modules())
    unknown = [name for name in options.ignore if name not in layers]
    if unknown:
        raise RecipeError(f"prune.ignore names '{unknown[0]}', which the model does not have{nearest(unknown[0], layers)}")
    importance = torch_pruning.importance
    measure = (
        importance.GroupMagnitudeImportance(p=2) if options.importance == "magnitude" else importance.GroupTaylorImportance()
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch_pruning.pruner.BasePruner(
                model,
                to_tensors(sample),
                importance=measure,
                global_pruning=options.scope == "global",
                pruning_ratio=options.max_layer_share,
                max_pruning_ratio=options.max_layer_share,
                iterative_steps=_STEPS,
                round_to=options.round_to,
                ignored_layers=[layers[name] for name in options.ignore] + _heads(model, sample),
                forward_fn=lambda traced, inputs: traced(**inputs),
            )
    except (RuntimeError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise ModelError(f"{type(model).__name__}: its dependency graph cannot be traced: {error}") from error


def _heads(model: nn.Module, sample: Batch) -> list[nn.Module]:
    """Return the layers whose output is the model's output: their channels are the classes and must stay."""
    outputs: dict[int, nn.Module] = {}
    hooks = [
        layer.register_forward_hook(lambda layer, _, output: outputs.update({id(output): layer}))
        for layer in model.modules()
        if width(layer, "out") is not None
    ]
    with torch.no_grad():
        result = model(**to_tensors(sample))
    for hook in hooks:
        hook.remove()
    results = [result] if isinstance(result, Tensor) else list(result.values() if hasattr(result, "values") else result)
    return [outputs[id(tensor)] for tensor in results if id(tensor) in outputs]


class _Tracker:
    """Follows which of each layer's original channels are left."""

    def __init__(self, model: nn.Module) -> None:
        self._names = {layer: name for name, layer in model.named_modules()}
        self._weighted = {name for layer, name in self._names.items() if width(layer, "in") or getattr(layer, "groups", 1) > 1}
        self._whole = {
            (name, side): count
            for layer, name in self._names.items()
            for side in ("out", "in")
            if (count := width(layer, side)) is not None
        }
        self._left = {place: np.arange(count) for place, count in self._whole.items()}

    def note(self, group: torch_pruning.Group, graph: torch_pruning.DependencyGraph) -> None:
        """Take out the channels that `group` is about to lose."""
        for dependency, indices in group:
            name = self._names.get(dependency.target.module)
            side = "out" if graph.is_out_channel_pruning_fn(dependency.handler) else "in"
            if name is None or (name, side) not in self._left:
                continue
            self._left[name, side] = np.delete(self._left[name, side], sorted(set(indices)))

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
