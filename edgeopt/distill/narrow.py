"""A narrower transformers student, its weights cut from the teacher's.

Hidden states are written in their principal components (Ashkboos et al. 2024, "SliceGPT", https://arxiv.org/abs/2401.15024,
section 3): with C = Σ_tokens h hᵀ over all layers and Q the `width` eigenvectors of its largest eigenvalues, h ≈ Q Qᵀ h, so

    a layer that reads h:   W h ≈ (W Q) (Qᵀ h)          a layer that writes h:   Qᵀ (W x + b)

A LayerNorm's scale is not diagonal in the new basis; scale and shift are fitted to Qᵀ h, component by component, by least
squares. Of the heads and of the feed-forward neurons those stay that contribute most to the residual stream, measured on
samples: E|activation| · ‖output weights‖. What is lost the distillation repairs; the projection back to the teacher's width
for the hidden-state loss begins as Q.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeopt.errors import ModelError, RecipeError
from edgeopt.models.record import attention_projections, layer_names, recording


@dataclass(frozen=True)
class Narrowed:
    """A narrower student, and the basis Q [teacher's width, width] that its hidden states are written in."""

    module: nn.Module
    basis: Tensor


@dataclass(frozen=True)
class _Sizes:
    width: int
    heads: int
    head_size: int
    neurons: int


@torch.no_grad()
def narrow_model(teacher: nn.Module, width: int, batches: Sequence[Mapping[str, Tensor]]) -> Narrowed:
    """Return a model of the teacher's class and depth whose hidden states have `width` components.

    Args:
        teacher: a transformers encoder with LayerNorm (BERT and its relatives).
        width: a multiple of the teacher's head size.
        batches: inputs that the principal components are taken from.

    Raises:
        RecipeError: the width is none that the teacher can be cut to.
        ModelError: the teacher is not built of attention and feed-forward layers that are known.
    """
    sizes = _sizes(teacher, width)
    smaller: Any = copy.deepcopy(teacher.config)
    smaller.hidden_size, smaller.num_attention_heads, smaller.intermediate_size = width, sizes.heads, sizes.neurons
    student = type(teacher)(smaller)
    teacher.eval()
    norms = [name for name, module in teacher.named_modules() if isinstance(module, nn.LayerNorm)]
    if not norms or any("attention_mask" not in inputs for inputs in batches):
        raise ModelError(
            f"{type(teacher).__name__} cannot be narrowed: that is for text encoders with LayerNorm, such as BERT; keep some "
            "of its layers instead (distill.layers), or narrow it by pruning (prune.hidden)"
        )
    statistics = _observe(teacher, norms, batches)
    basis = _basis(statistics, width)
    roles = _Roles(teacher, sizes, basis, statistics)
    fitted = _fitted_norms(teacher, norms, basis, batches)
    theirs, ours = dict(teacher.named_parameters()), dict(student.named_parameters())
    for name, parameter in ours.items():
        owner, _, kind = name.rpartition(".")
        value = fitted[name] if name in fitted else roles.cut(owner, kind, theirs[name])
        if value.shape != parameter.shape:
            raise ModelError(
                f"{type(teacher).__name__}: {name} {list(theirs[name].shape)} cannot be cut to {list(parameter.shape)}"
            )
        parameter.copy_(value)
    return Narrowed(student.eval(), basis.float())


def _sizes(teacher: nn.Module, width: int) -> _Sizes:
    config: Any = getattr(teacher, "config", None)
    try:
        hidden, heads, neurons = config.hidden_size, config.num_attention_heads, config.intermediate_size
    except AttributeError as error:
        raise ModelError(
            f"{type(teacher).__name__} cannot be narrowed: its config has no hidden_size, heads and intermediate_size"
        ) from error
    size = hidden // heads
    if not 0 < width < hidden or width % size:
        options = ", ".join(str(size * count) for count in range(1, heads))
        raise RecipeError(
            f"distill.width is {width}: the teacher's width is {hidden} with heads of {size}; choose one of {options}"
        )
    return _Sizes(width, width // size, size, round(neurons * width / hidden))


@dataclass(frozen=True)
class _Statistics:
    """What samples show: second moments of hidden states, and mean magnitudes of the inputs of linear layers."""

    moments: Mapping[str, Tensor]
    """Of each LayerNorm: second moment [width, width] of its output."""
    magnitudes: Mapping[str, Tensor]
    """Of each linear layer: mean absolute value of each input."""


def _observe(teacher: nn.Module, norms: Sequence[str], batches: Sequence[Mapping[str, Tensor]]) -> _Statistics:
    linear = {name: module for name, module in teacher.named_modules() if isinstance(module, nn.Linear)}
    sums: dict[str, Tensor] = {}
    magnitudes: dict[str, Tensor] = {}
    tokens = 0

    def hook(name: str, mask: Tensor) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def see(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:  # noqa: ARG001
            values = arguments[0]
            kept = values[mask] if values.ndim == 3 and values.shape[:2] == mask.shape else values.reshape(-1, values.shape[-1])
            magnitudes[name] = magnitudes.get(name, torch.zeros(values.shape[-1])) + kept.abs().mean(dim=0) / len(batches)

        return see

    for inputs in batches:
        mask = inputs["attention_mask"].bool()
        handles = [module.register_forward_pre_hook(hook(name, mask)) for name, module in linear.items()]
        with recording(teacher, norms) as seen:
            teacher(**inputs)
        for handle in handles:
            handle.remove()
        for name in norms:
            kept = seen[name][mask].double()
            sums[name] = sums.get(name, torch.zeros(kept.shape[1], kept.shape[1], dtype=torch.float64)) + kept.T @ kept
        tokens += int(mask.sum())
    return _Statistics({name: second / tokens for name, second in sums.items()}, magnitudes)


def _basis(statistics: _Statistics, width: int) -> Tensor:
    """Return an orthonormal basis of the principal components of all hidden states, each normalisation with the same weight.

    The components are turned at random within their space, so that all have about the same variance: a LayerNorm, which
    subtracts the mean over components and divides by their deviation, then does in the new basis what it did in the old one.
    """
    whole = torch.stack([second / second.trace() for second in statistics.moments.values()]).sum(dim=0)
    components: Tensor = torch.linalg.eigh(whole).eigenvectors[:, -width:]
    turned: Tensor = torch.linalg.qr(
        torch.randn(width, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ).Q
    return components @ turned


def _fitted_norms(
    teacher: nn.Module, norms: Sequence[str], basis: Tensor, batches: Sequence[Mapping[str, Tensor]]
) -> dict[str, Tensor]:
    """Return scale and shift of each normalisation in the new basis: the least squares fit of Qᵀ h, component by component."""
    modules = dict(teacher.named_modules())
    pairs: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in norms}

    def hook(name: str, mask: Tensor) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def see(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG001
            plain = F.layer_norm(arguments[0][mask].double() @ basis, (basis.shape[1],))
            pairs[name].append((plain, output[mask].double() @ basis))

        return see

    for inputs in batches:
        mask = inputs["attention_mask"].bool()
        handles = [modules[name].register_forward_hook(hook(name, mask)) for name in norms]
        teacher(**inputs)
        for handle in handles:
            handle.remove()
    fitted = {}
    for name, found in pairs.items():
        plain, wanted = (torch.cat(parts) for parts in zip(*found, strict=True))
        centred = plain - plain.mean(dim=0)
        scale = (centred * wanted).mean(dim=0) / centred.square().mean(dim=0).clamp_min(1e-8)
        fitted[f"{name}.weight"] = scale.float()
        fitted[f"{name}.bias"] = (wanted.mean(dim=0) - scale * plain.mean(dim=0)).float()
    return fitted


class _Roles:
    """Which axis of which weight is hidden states, heads or neurons, and what stays of it."""

    def __init__(self, teacher: nn.Module, sizes: _Sizes, basis: Tensor, statistics: _Statistics) -> None:
        self._basis = basis.float()
        self._rows: dict[str, Tensor] = {}
        self._columns: dict[str, Tensor] = {}
        modules: dict[str, Any] = dict(teacher.named_modules())
        self._embeddings = {name for name, module in modules.items() if isinstance(module, nn.Embedding)}
        hidden = basis.shape[0]
        for layer in layer_names(teacher):
            query, key, value = attention_projections(teacher, layer)
            linear = [
                name for name, module in modules.items() if name.startswith(f"{layer}.") and isinstance(module, nn.Linear)
            ]
            square = [
                name for name in linear if modules[name].weight.shape == (hidden, hidden) and name not in (query, key, value)
            ]
            up = [name for name in linear if modules[name].weight.shape[0] > hidden]
            down = [name for name in linear if modules[name].weight.shape[1] > hidden]
            if len(square) != 1 or len(up) != 1 or len(down) != 1:
                raise ModelError(
                    f"{type(teacher).__name__}: {layer} is not one attention and one feed-forward block; it cannot be narrowed"
                )
            heads = _most(statistics.magnitudes[square[0]], modules[square[0]].weight, sizes.heads, group=sizes.head_size)
            for name in (query, key, value):
                self._rows[name] = heads
            self._columns[square[0]] = heads
            neurons = _most(statistics.magnitudes[down[0]], modules[down[0]].weight, sizes.neurons, group=1)
            self._rows[up[0]], self._columns[down[0]] = neurons, neurons
        self._cut_head(modules, sizes.width, hidden)

    def _cut_head(self, modules: Mapping[str, Any], width: int, hidden: int) -> None:
        """Let a pooler (a square layer outside of the stack) keep those outputs that the next layer uses most."""
        outside = [
            name
            for name, module in modules.items()
            if isinstance(module, nn.Linear)
            and name not in self._rows
            and name not in self._columns
            and not _in_stack(name, self._rows)
        ]
        square = [name for name in outside if modules[name].weight.shape == (hidden, hidden)]
        heads = [name for name in outside if modules[name].weight.shape[1] == hidden and name not in square]
        if len(square) == 1 and heads:
            use = torch.stack([modules[name].weight.abs().sum(dim=0) for name in heads]).sum(dim=0)
            kept = use.topk(width).indices.sort().values
            self._rows[square[0]] = kept
            for name in heads:
                self._columns[name] = kept

    def cut(self, owner: str, kind: str, value: Tensor) -> Tensor:
        """Return a weight or bias of the module `owner` in the new sizes."""
        basis = self._basis
        if owner in self._embeddings:
            return value @ basis
        rows = self._rows.get(owner)
        if kind == "bias":
            return value[rows] if rows is not None else basis.T @ value if value.shape[0] == basis.shape[0] else value
        if value.ndim != 2:
            return value
        columns = self._columns.get(owner)
        cut = value[:, columns] if columns is not None else value @ basis if value.shape[1] == basis.shape[0] else value
        if rows is not None:
            return cut[rows]
        result: Tensor = basis.T @ cut if value.shape[0] == basis.shape[0] else cut
        return result


def _in_stack(name: str, known: Mapping[str, Tensor]) -> bool:
    return any(name.rpartition(".")[0] == other.rpartition(".")[0] for other in known)


def _most(magnitude: Tensor, weight: Tensor, count: int, *, group: int) -> Tensor:
    """Return the inputs of a layer, in groups, that contribute most to its outputs."""
    score = (magnitude * weight.norm(dim=0)).reshape(-1, group).sum(dim=1)
    kept: Tensor = score.topk(count).indices.sort().values
    return (kept[:, None] * group + torch.arange(group)[None]).reshape(-1)
