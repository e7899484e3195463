"""The hidden width: the channels of the residual stream, which all layers of a transformer read and write.

    embeddings ─▶ [hidden] ─▶ norm ─▶ q, k, v, up ─▶ … ─▶ out, down ─▶ + [hidden] ─▶ … ─▶ norm ─▶ head

Everything as wide as the stream goes along it, except the inner sides of attentions and feed-forward networks, whose parts are
known (`anatomy_of`). A norm computes its mean and variance over the channels that are left; so the whole model that a cut one
is compared with has its norms do the same.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from edgeopt.batches import Batch
from edgeopt.data.samples import Samples
from edgeopt.errors import RecipeError
from edgeopt.models.kept import Kept, Side, narrow, width
from edgeopt.models.reshape import Shape, reshape
from edgeopt.prune.calibration import second_moments
from edgeopt.prune.importance.magnitude import sum_over_cuts
from edgeopt.prune.importance.obs import damped
from edgeopt.prune.structure.heads import is_linear
from edgeopt.prune.structure.names import WIDTHS
from edgeopt.prune.structure.parts import Cut, Part, rows_of, set_rows
from edgeopt.prune.surgery import compare, outputs_of

_MOST_BYTES = 2e9
_BATCH = 16


def hidden_width(model: nn.Module) -> int:
    """Return the hidden width.

    Raises:
        RecipeError: the model's layers have several, or its configuration names none.
    """
    config: Any = getattr(model, "config", None)
    values = [value for name in WIDTHS if isinstance(value := getattr(config, name, None), int)]
    if (
        not values
        or isinstance(getattr(config, "hidden_sizes", None), list)
        or isinstance(getattr(config, "depths", None), list)
    ):
        raise RecipeError(f"prune.hidden: {type(model).__name__} has no hidden width that all its layers share")
    for name in ("vocab_size", "num_labels"):
        if getattr(config, name, None) == values[0]:
            raise RecipeError(f"prune.hidden: the hidden width {values[0]} equals {name}, so that they cannot be told apart")
    return values[0]


def stream_cuts(model: nn.Module, parts: Sequence[Part], size: int) -> list[Cut]:
    """Return all sides of layers, and axes of parameters, that lie on the stream of `size` channels."""
    inner = {(cut.layer, cut.side) for part in parts for cut in part.cuts()}
    sides: tuple[Side, ...] = ("out", "in")
    named = {cut.layer for part in parts for cut in part.cuts()}
    cuts: list[Cut] = []
    known: set[str] = set()
    for name, layer in model.named_modules():
        if any(width(layer, side) is not None for side in sides):
            known.add(name)
            cuts += [Cut(name, side, 1) for side in sides if width(layer, side) == size and (name, side) not in inner]
            inputs = width(layer, "in") or 0
            if is_linear(layer) and name not in named and inputs > size and inputs % size == 0:  # hidden states side by side
                cuts.append(Cut(name, "in", 1, tuple(range(0, inputs, size))))
    for name, value in model.named_parameters():
        axes = [axis for axis, length in enumerate(value.shape) if length == size]
        if name.rpartition(".")[0] not in known and name not in named and axes:
            cuts.append(Cut(name, f"axis{axes[-1]}", 1))  # type: ignore[arg-type]
    return cuts


def hidden_scores(model: nn.Module, cuts: Sequence[Cut], size: int, samples: Samples, *, importance: str) -> Tensor:
    """Return how much each channel of the stream matters, float64 [channels].

    magnitude: the norm of all weights that go with it. Otherwise weights times inputs (Wanda's score, summed over outputs) of
    every linear layer that reads the stream, as a share of the layer's sum:

        s_c = Σ_layers  Σ_i |W_ic| · ‖X_c‖  /  Σ_c Σ_i |W_ic| · ‖X_c‖
    """
    if importance == "magnitude":
        layers = [cut for cut in cuts if not cut.side.startswith("axis") and is_linear(model.get_submodule(cut.layer))]
        return sum_over_cuts(model, layers, size, lambda weight: weight.detach().double() ** 2).sqrt()
    readers = _readers(model, cuts)
    moments = second_moments(model, readers, samples.batches(_BATCH))
    total = torch.zeros(size, dtype=torch.float64)
    for name, moment in moments.items():
        score = rows_of(model.get_submodule(name)).double().abs().sum(0) * moment.diagonal().clamp(min=0).sqrt()
        total += score / score.sum().clamp(min=1e-30)
    return total


def cut_hidden(
    model: nn.Module, parts: Sequence[Part], samples: Samples, *, left: int, importance: str, refit: bool
) -> tuple[Shape, tuple[int, ...]]:
    """Leave the `left` channels of the stream that matter most, in place; return the model's shape and those channels.

    Args:
        model: a transformer.
        parts: its attentions and feed-forward networks.
        samples: calibration samples.
        left: how many channels stay.
        importance: how they are ranked; see `hidden_scores`.
        refit: fit the layers that read the stream to the channels that are left, by least squares.

    Raises:
        RecipeError: the stream cannot be told from other channels.
        InternalError: the cut model's outputs differ from those of the masked one.
    """
    size = hidden_width(model)
    cuts = stream_cuts(model, parts, size)
    scores = hidden_scores(model, cuts, size, samples, importance=importance)
    kept = tuple(sorted(scores.argsort(descending=True)[:left].tolist()))
    if refit:
        _fit(model, cuts, samples, kept)
    sample = samples.collate(range(min(4, len(samples))))
    masked = _masked_outputs(model, cuts, kept, sample)
    chosen: dict[str, dict[Side, list[int]]] = {}
    for cut in cuts:
        chosen.setdefault(cut.layer, {})[cut.side] = cut.channels(kept)
    shape = Shape(kept=chosen)
    reshape(model, shape)
    compare(masked, outputs_of(model, sample), type(model).__name__, kept=kept, size=size)
    return shape, kept


def _readers(model: nn.Module, cuts: Iterable[Cut]) -> list[str]:
    return [
        cut.layer for cut in cuts if cut.side == "in" and len(cut.starts) == 1 and is_linear(model.get_submodule(cut.layer))
    ]


def _fit(model: nn.Module, cuts: Sequence[Cut], samples: Samples, kept: Sequence[int]) -> None:
    """Set the weights of each reader to W H_{:,S} (H_SS)⁻¹ on the channels S that are left; H: second moments of its inputs."""
    shared = _twice(model)
    names = [name for name in _readers(model, cuts) if id(model.get_submodule(name).weight) not in shared]
    size = sum(8 * rows_of(model.get_submodule(name)).shape[1] ** 2 for name in names)
    if size > _MOST_BYTES:
        return
    left = list(kept)
    for name, moment in second_moments(model, names, samples.batches(_BATCH)).items():
        layer = model.get_submodule(name)
        whole, hessian = rows_of(layer).double(), damped(moment)
        fitted = whole.clone()
        fitted[:, left] = torch.linalg.solve(hessian[left][:, left], (whole @ hessian[:, left]).T).T
        set_rows(layer, fitted.to(rows_of(layer).dtype))


def _twice(model: nn.Module) -> set[int]:
    """Return the identities of parameters with several names."""
    seen: set[int] = set()
    twice: set[int] = set()
    for _, parameter in model.named_parameters(remove_duplicate=False):
        twice |= {id(parameter)} & seen
        seen.add(id(parameter))
    return twice


@torch.no_grad()
def _masked_outputs(model: nn.Module, cuts: Sequence[Cut], kept: Sequence[int], sample: Batch) -> list[Tensor]:
    """Return the outputs of the model whose other channels are zero; its weights for those are set to zero, in place."""
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters(remove_duplicate=False))
    size = hidden_width(model)
    gone = sorted(set(range(size)) - set(kept))
    norms = [cut for cut in cuts if cut.side == "out" and _is_norm(modules.get(cut.layer))]
    norms += [
        Cut(cut.layer.rpartition(".")[0], "out", 1) for cut in cuts if _is_norm(modules.get(cut.layer.rpartition(".")[0]))
    ]
    for cut in cuts:
        for name, axis in _axes(cut, modules, parameters):
            parameters[name].data.index_fill_(axis, torch.tensor(cut.channels(gone), dtype=torch.long), 0)
    with _narrowed_norms({cut.layer: modules[cut.layer] for cut in norms}, kept):
        return outputs_of(model, sample)


def _axes(cut: Cut, modules: dict[str, nn.Module], parameters: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield the parameters that a cut goes through, with the axis."""
    if cut.side.startswith("axis"):
        yield cut.layer, int(cut.side.removeprefix("axis"))
        return
    layer = modules[cut.layer]
    for own in ("weight", "bias"):
        name = f"{cut.layer}.{own}"
        if name not in parameters or (own == "bias" and cut.side == "in"):
            continue
        if parameters[name].ndim == 1:
            yield name, 0
        elif isinstance(layer, nn.Embedding):
            yield name, 1
        else:
            transposed = is_linear(layer) and not isinstance(layer, nn.Linear)
            yield name, int((cut.side == "in") != transposed)


def _is_norm(layer: nn.Module | None) -> bool:
    return layer is not None and "Norm" in type(layer).__name__ and not any(layer.children())


@contextmanager
def _narrowed_norms(norms: dict[str, nn.Module], kept: Sequence[int]) -> Iterator[None]:
    """Have the norms compute over the channels `kept` alone, and give zeros for the others."""
    index = torch.tensor(list(kept), dtype=torch.long)
    hooks = []
    for layer in dict.fromkeys(norms.values()):
        narrowed = _narrowed(layer, kept)

        def over_kept(_: nn.Module, given: tuple[Tensor, ...], result: Tensor, narrowed: nn.Module = narrowed) -> Tensor:
            return torch.zeros_like(result).index_copy_(-1, index, narrowed(given[0].index_select(-1, index)))

        hooks.append(layer.register_forward_hook(over_kept))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _narrowed(layer: nn.Module, kept: Sequence[int]) -> nn.Module:
    holder = nn.ModuleDict({"norm": copy.deepcopy(layer)})
    side: Kept = {"norm": {"out": list(kept)}}
    if width(layer, "out") is None:
        side = {f"norm.{name}": {"axis0": list(kept)} for name, _ in layer.named_parameters()}
    narrow(holder, side)
    return holder["norm"]
