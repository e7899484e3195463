"""Structured pruning along the dependency graph: coupled channels are removed together, and layers become smaller.

Fang et al. (2023), "DepGraph: Towards Any Structural Pruning", https://arxiv.org/abs/2301.12900, as implemented by
torch-pruning: layers whose channels must agree (across residual additions, normalisations, the next layer's input) form a
group; a group's channel has as importance the norm of all weights removed with it (section 3.3), or the change of the loss that
Molchanov et al. (2019), https://arxiv.org/abs/1906.10771, equation 8, estimate. The least important channels are removed first,
step by step, until the multiply-accumulates fit.

torch-pruning misjudges some graphs (chunks, reshapes with sizes written out, recurrent layers): then it fails, the cut model
does, or an output changes its shape. The first layer of the group in question is then spared and pruning starts again from the
whole model; `PrunedChannels.spared` says which layers and why.
"""

from __future__ import annotations

import copy
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from edgeopt import progress
from edgeopt.batches import Batch
from edgeopt.errors import InternalError, ModelError, RecipeError, nearest
from edgeopt.models.call import tensors_of, to_tensors
from edgeopt.models.kept import Kept, narrow
from edgeopt.models.size import counted
from edgeopt.prune.config import PruneOptions
from edgeopt.prune.heads import heads
from edgeopt.prune.pruners import keep_shared_weights, own_pruners
from edgeopt.prune.result import LayerWidth
from edgeopt.prune.tracker import Tracker, UntrackedCutError

_IMPORTANCES = ("auto", "magnitude", "taylor", "norm-scale")
_STEPS = 200
_FAILURES = (RuntimeError, LookupError, ValueError, TypeError, AttributeError, AssertionError, UntrackedCutError)
"""What torch-pruning, and a model that it cut in a wrong way, raise."""


@dataclass(frozen=True)
class PrunedChannels:
    """What pruning did; `kept` rebuilds the structure from the unpruned model (see `edgeopt.models.kept`).

    `spared` has the layers that could not be cut and were left whole, by name, with the reason.
    """

    macs_before: int
    macs_after: int
    layers: tuple[LayerWidth, ...]
    kept: Kept
    spared: Mapping[str, str] = field(default_factory=dict)


class _BlamedError(Exception):
    """The group that begins with `layer` cannot be cut."""

    def __init__(self, layer: str, reason: str) -> None:
        super().__init__(f"{layer}: {reason}")
        self.layer, self.reason = layer, reason


def prune_channels(
    model: nn.Module, sample: Batch, *, options: PruneOptions, loss: Callable[[nn.Module], Tensor] | None = None
) -> PrunedChannels:
    """Remove channels from `model`, in place, until it needs at most `options.macs` of its multiply-accumulates.

    Args:
        model: traced once with `sample`.
        sample: one batch of real inputs.
        options: how much, and by which importance.
        loss: the loss on a few calibration batches, whose gradient the "taylor" importance needs.

    Raises:
        ModelError: the model cannot be traced, or nothing more can be removed before the share is reached.
        RecipeError: a layer to ignore is not there.
    """
    if options.importance not in _IMPORTANCES:
        raise RecipeError(
            f"prune.importance '{options.importance}' is for transformers; use {', '.join(_IMPORTANCES[1:])} for this network"
        )
    if options.importance == "taylor":
        if loss is None:
            raise RecipeError("prune.importance 'taylor' needs training data for its gradients; use 'magnitude'")
        model.zero_grad()
        loss(model).backward()  # type: ignore[no-untyped-call]
    whole = copy.deepcopy(model)
    with _all_trainable(model):
        result = _prune_what_can_be(model, sample, options)
    model.zero_grad()
    _check_rebuilt(model, whole, result.kept, sample)
    return result


def _prune_what_can_be(model: nn.Module, sample: Batch, options: PruneOptions) -> PrunedChannels:
    state = _State(model)
    spared: dict[str, str] = {}
    while True:
        try:
            return _prune(model, sample, options, spared)
        except ModelError:
            state.restore()
            raise
        except _BlamedError as found:
            state.restore()
            if found.layer in spared:
                raise ModelError(f"layer '{found.layer}' cannot be pruned: {found.reason}; name it in prune.ignore") from found
            spared[found.layer] = found.reason


def _prune(model: nn.Module, sample: Batch, options: PruneOptions, spared: Mapping[str, str]) -> PrunedChannels:
    before, shapes = _measured(model, sample)
    pruner, after, root = _pruner(model, sample, options, spared), before, None
    names = {layer: name for name, layer in model.named_modules()}
    tracked = Tracker(model)
    with progress.task("prune", total=_STEPS) as advance, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(_STEPS):
            if after <= options.macs * before:
                break
            try:
                for group in pruner.step(interactive=True):
                    root = group[0].dep.target.module
                    tracked.note(group, pruner.DG)
                    group.prune()
                    after, now = _measured(model, sample)
                    if now != shapes:
                        raise UntrackedCutError(f"the outputs would be {now} instead of {shapes}")
                    root = None
                    if after <= options.macs * before:
                        break
            except _FAILURES as error:
                layer = names.get(root if root is not None else _blamed(error))
                if layer is None:
                    raise ModelError(f"{type(model).__name__} cannot be pruned: {_reason(error)}") from error
                raise _BlamedError(layer, _reason(error)) from error
            advance()
    if after > options.macs * before:
        raise ModelError(
            f"pruning stopped at {after / before:.0%} of the multiply-accumulates, {options.macs:.0%} were asked for: "
            f"raise prune.macs{_reachable(after / before)} or prune.max_layer_share, or lower prune.round_to{_left(spared)}"
        )
    return PrunedChannels(before, after, tracked.layers(), tracked.kept(), dict(spared))


def _reachable(share: float) -> str:
    return f" to {math.ceil(share * 100) / 100:.2f}" if share < 0.99 else ""


def _left(spared: Mapping[str, str]) -> str:
    """Say which layers stayed whole and how to leave them out."""
    if not spared:
        return ""
    reasons = ", ".join(f"'{name}' ({reason})" for name, reason in spared.items())
    return f"; what could not be cut stayed whole, as --set 'ignore={json.dumps(list(spared))}' has it: {reasons}"


def _measured(model: nn.Module, sample: Batch) -> tuple[int, list[tuple[int, ...]]]:
    """Return the multiply-accumulates and the outputs' shapes."""
    outputs, macs = counted(model, sample)
    return macs, [tuple(tensor.shape) for tensor in tensors_of(outputs)]


def _blamed(error: BaseException) -> Any:
    """Return the first module of the group that torch-pruning was busy with: it stands in the frames of `error`."""
    found, step = None, error.__traceback__
    while step is not None:
        values = step.tb_frame.f_locals
        if step.tb_frame.f_code.co_name == "get_pruning_group":
            found = values.get("module", found)
        elif isinstance(values.get("group"), torch_pruning.Group) and len(values["group"]):
            found = values["group"][0].dep.target.module
        step = step.tb_next
    return found


def _reason(error: Exception) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    return (
        said if isinstance(error, UntrackedCutError) else f"torch-pruning gets it wrong ({type(error).__name__}: {said[:120]})"
    )


def _measure(importance: str) -> torch_pruning.importance.Importance:
    """Return torch-pruning's way to rank channels."""
    kinds = torch_pruning.importance
    match importance:
        case "taylor":
            return kinds.GroupTaylorImportance()
        case "norm-scale":
            return kinds.BNScaleImportance()
        case _:
            return kinds.GroupMagnitudeImportance(p=2)


def _pruner(
    model: nn.Module, sample: Batch, options: PruneOptions, spared: Mapping[str, str]
) -> torch_pruning.pruner.BasePruner:
    layers = dict(model.named_modules())
    unknown = [name for name in options.ignore if name not in layers]
    if unknown:
        raise RecipeError(f"prune.ignore names '{unknown[0]}', which the model does not have{nearest(unknown[0], layers)}")
    ignored = [layers[name] for name in (*options.ignore, *spared)] + heads(model, sample)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pruner = torch_pruning.pruner.BasePruner(
                model,
                to_tensors(sample),
                importance=_measure(options.importance),
                global_pruning=options.scope == "global",
                pruning_ratio=options.max_layer_share,
                max_pruning_ratio=options.max_layer_share,
                iterative_steps=_STEPS,
                round_to=math.lcm(options.round_to or 8, *_attention_heads(model)),
                ignored_layers=ignored,
                customized_pruners=own_pruners(),
                in_channel_groups={},
                out_channel_groups={},
                num_heads={},
                forward_fn=lambda traced, inputs: traced(**inputs),
            )
            keep_shared_weights(pruner.DG, pruner.ignored_layers)
            return pruner
    except _FAILURES as error:
        layer = next((name for name, layer in layers.items() if layer is _blamed(error)), None)
        if layer is not None:
            raise _BlamedError(layer, _reason(error)) from error
        raise ModelError(f"{type(model).__name__}: its dependency graph cannot be traced: {_reason(error)}") from error


def _attention_heads(model: nn.Module) -> list[int]:
    """Return the numbers of heads that the width of attention layers must divide by."""
    return [layer.num_heads for layer in model.modules() if isinstance(layer, nn.MultiheadAttention)]


@contextmanager
def _all_trainable(model: nn.Module) -> Iterator[None]:
    """Have frozen parameters take part in the tracing, which follows gradients, and frozen again afterwards."""
    frozen = [name for name, value in model.named_parameters() if not value.requires_grad and value.is_floating_point()]
    for name in frozen:
        model.get_parameter(name).requires_grad_(True)
    try:
        yield
    finally:
        for name in frozen:
            model.get_parameter(name).requires_grad_(False)


class _State:
    """A model's layers as they are, to go back to: torch-pruning makes new parameters and never writes into old ones."""

    def __init__(self, model: nn.Module) -> None:
        self._values = [(layer, _copied(layer.__dict__)) for layer in model.modules()]

    def restore(self) -> None:
        """Put everything back."""
        for layer, values in self._values:
            layer.__dict__.clear()
            layer.__dict__.update(_copied(values))


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: copy.copy(value) if isinstance(value, dict) else value for name, value in values.items()}


def _check_rebuilt(model: nn.Module, whole: nn.Module, kept: Kept, sample: Batch) -> None:
    """Check that the kept indices make the pruned model out of the whole one, weight by weight and output by output."""
    narrow(whole, kept)
    rebuilt, pruned = whole.state_dict(), model.state_dict()
    wrong = [name for name, tensor in pruned.items() if not torch.equal(tensor, rebuilt[name])]
    if not wrong:
        results = [list(tensors_of(counted(one, sample)[0])) for one in (model, whole)]
        wrong = [
            f"output {n}" for n, (a, b) in enumerate(zip(*results, strict=True)) if not torch.allclose(a, b, equal_nan=True)
        ]
    if wrong:
        raise InternalError(f"{type(model).__name__}: the kept channels do not rebuild the pruned model: {wrong[0]} differs")
