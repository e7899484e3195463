"""4-bit weights and scales of a decoder, trained layer by layer towards what each layer gives in floating point.

    x̃ (of the rounded layers before) → layer with w̃ → ỹ        loss = Σ(ỹ - y)² / Σ y²,  y of the floating-point model

w̃ = s · clip(round(w / s), -z, 15 - z). Weights and scales move by the signs of their gradients, in steps that fall evenly to 0,
1 / n of the grid's at first, so that a weight can just reach the next integer (SignRound, Cheng et al.,
https://arxiv.org/abs/2309.05516, equations 3 and 6), with LSQ's gradient for s (`training.grids`). It begins at
the integers that GPTQ or another method chose: w is the value that rounds to them and is nearest to the weight.

One layer at a time is in PyTorch, and of the windows what goes in and should come out, so memory does not grow with the number
of layers. Windows held aside say which state of a layer is kept. A layer here is a decoder layer, cut where fewest tensors are
alive.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from edgeopt import progress
from edgeopt.errors import RecipeError
from edgeopt.graph.generation import Generation
from edgeopt.graph.matching import is_float
from edgeopt.quantize.affine import Affine
from edgeopt.quantize.language.blocks import Blocked
from edgeopt.quantize.language.config import LanguageTrainingOptions
from edgeopt.quantize.language.layers import Rounded, find_layers
from edgeopt.quantize.language.text import Tokens
from edgeopt.quantize.language.torch_decoder import Constants, half_precision, inputs_of, shuffled, stacked, state_of
from edgeopt.quantize.training.checkpoint import Checkpoint, Phase, PhaseProgress, State, key_of
from edgeopt.quantize.training.graph_module import refuse_unknown
from edgeopt.quantize.training.grids import Grid
from edgeopt.quantize.training.objective import relative_error
from edgeopt.quantize.training.operators import operator_of, tensor_of
from edgeopt.quantize.training.steps import Alive, Step, advance, steps_of

_HELD_SHARE = 16
_FEWEST_STEPS, _LOOKS = 8, 5
_EDGE = 0.49
"""Of a step: how far from its integer a weight begins at most."""


@dataclass
class _Batch:
    """Windows on their way through the layers: of the floating-point model, and of the rounded one."""

    exact: Alive
    rounded: Alive


class _Matrix:
    """The weights of one product in blocks, [outputs · blocks, block], and their grid."""

    def __init__(self, start: Rounded) -> None:
        self.layer, self._start = start.layer, start.blocks
        numbers, scales = self._start.numbers.astype(np.float32), self._start.scales
        zeros = self._start.zeros.astype(np.float32)
        outputs, count, block = numbers.shape
        weight = start.layer.weight().astype(np.float32)
        whole = np.pad(weight, ((0, 0), (0, count * block - weight.shape[1]))).reshape(numbers.shape)
        near = np.clip(whole / scales[..., None] + zeros[..., None], numbers - _EDGE, numbers + _EDGE)
        values = (near - zeros[..., None]) * scales[..., None]
        self.weight = nn.Parameter(torch.from_numpy(values.reshape(-1, block)))
        self.grid = Grid(Affine(scales.reshape(-1), self._start.zeros.reshape(-1), "uint4", 0))
        self._shape, self._kind = (outputs, count * block), tensor_of(start.layer.source).dtype

    def value(self) -> Tensor:
        """Return the rounded weights as the product reads them, [inputs, outputs]."""
        rounded: Tensor = self.grid(self.weight)
        return rounded.view(self._shape)[:, : self._start.inputs].t().to(self._kind)

    @torch.no_grad()
    def move(self, weights: float, scales: float) -> None:
        """Move weights by some steps of their grids and scales by a share of themselves, against the signs of the gradients."""
        for parameter, step in ((self.weight, weights * self.grid.scale[:, None]), (self.grid.ratio, torch.tensor(scales))):
            if parameter.grad is not None:
                parameter.sub_(step * torch.sign(parameter.grad))
            parameter.grad = None

    def blocks(self) -> Blocked:
        """Return the integers, scales and zero points as they are now."""
        affine, shape = self.grid.affine(), self._start.numbers.shape
        numbers = affine.quantize(self.weight.detach().numpy()).astype(np.uint8).reshape(shape)
        return Blocked(numbers, affine.scale.astype(np.float32).reshape(shape[:2]), self._start.zeros, self._start.inputs)


@dataclass(frozen=True)
class _Part:
    """The steps of one decoder layer."""

    steps: tuple[Step, ...]
    matrices: tuple[Rounded, ...]
    targets: tuple[ir.Value, ...]
    """What later layers read of it."""

    def forward(self, alive: Alive, weights: Alive, constants: Constants) -> Alive:
        """Return what is alive behind the layer, with these weights in the place of its own."""
        steps = (step for step in self.steps if step.node.outputs[0] not in weights)  # (a Transpose of weights)
        return _without(advance({**alive, **weights}, steps, constants), weights)


def train_layers(
    model: ir.Model,
    groups: Sequence[Sequence[Rounded]],
    facts: Generation,
    windows: Sequence[Tokens],
    *,
    options: LanguageTrainingOptions,
    tables: Mapping[ir.Value, np.ndarray] | None = None,
) -> dict[str, Blocked]:
    """Return the trained blocks of all matrices, by the names of their nodes.

    Args:
        model: the decoder in floating point; not changed.
        groups: the matrices of each decoder layer, with the blocks that they begin with.
        facts: of the decoder.
        windows: of text.
        options: how long, and how.
        tables: embeddings as they will be, by the constant that they were.

    Raises:
        ModelError: an operator has no form in PyTorch.
        RecipeError: there are too few windows, or the time is too short.
    """
    refuse_unknown(model)
    batches = stacked(windows, options.batch_size)
    before, parts = _parts(model, groups)
    start = state_of([one for group in groups for one in group])
    checkpoint = Checkpoint(options.checkpoint, key_of(start, [{"windows": batch} for batch in batches], options))
    kept = {value: torch.from_numpy(rows) for value, rows in (tables or {}).items()}
    begun = [_begun(before, inputs_of(model, facts, batch), kept) for batch in batches]
    return _Training(parts, options, checkpoint).run(begun)


class _Training:
    """All layers, one after another."""

    def __init__(self, parts: Sequence[_Part], options: LanguageTrainingOptions, checkpoint: Checkpoint) -> None:
        self._parts, self._options, self._checkpoint = parts, options, checkpoint
        self._made: dict[str, Blocked] = {}
        self._progress = PhaseProgress(Phase.BLOCKS)
        self._state: State = {}

    def run(self, batches: list[_Batch]) -> dict[str, Blocked]:
        loaded = self._checkpoint.load()
        if loaded is not None:
            self._progress, self._state, _ = loaded
        if self._progress.blocks == len(self._parts):
            return {one.layer.name: self._restored(one).blocks for part in self._parts for one in part.matrices}
        done, began, earlier = self._progress, time.monotonic(), self._progress.seconds
        first, passing = done.blocks, 0.0
        with progress.task("train layer by layer", total=len(self._parts)) as advanced:
            for number, part in enumerate(self._parts):
                constants, entered = Constants(), time.monotonic()
                with torch.no_grad():
                    wanted = [advance(batch.exact, part.steps, constants) for batch in batches]
                pairs = list(zip(batches, wanted, strict=True))
                matrices = [_Matrix(self._restored(one) if number < first else one) for one in part.matrices]
                if number >= first:
                    rest = len(self._parts) - number
                    passing = passing or 2 * (time.monotonic() - entered)  # (as long again behind the layer)
                    left = self._options.time - earlier - (time.monotonic() - began) - passing * rest
                    _train(part, matrices, pairs, options=self._options, seconds=left / rest, layers=rest if number == 0 else 0)
                made = {one.layer.name: one.blocks() for one in matrices}
                self._made |= made
                with torch.no_grad():
                    weights = _weights(matrices)
                    for batch, exact in zip(batches, wanted, strict=True):
                        batch.exact = exact
                        batch.rounded = part.forward(batch.rounded, weights, constants)
                if number >= first:
                    self._state |= state_of([Rounded(one.layer, made[one.layer.name]) for one in matrices])
                    done.blocks, done.seconds = number + 1, earlier + time.monotonic() - began
                    self._checkpoint.save(done, self._state, always=done.blocks == len(self._parts))
                advanced()
        return self._made

    def _restored(self, start: Rounded) -> Rounded:
        """Return a matrix with the blocks that an earlier run trained."""
        numbers, scales, zeros = (self._state[f"{start.layer.name}.{kind}"].numpy() for kind in ("numbers", "scales", "zeros"))
        return Rounded(start.layer, Blocked(numbers, scales, zeros, start.blocks.inputs))


def _train(
    part: _Part,
    matrices: Sequence[_Matrix],
    pairs: Sequence[tuple[_Batch, Alive]],
    *,
    options: LanguageTrainingOptions,
    seconds: float,
    layers: int,
) -> None:
    """Train the matrices of one layer; they are left in their best state on the batches held aside.

    Args:
        part: the layer.
        matrices: its matrices, changed in place.
        pairs: batches in front of the layer, with what the floating-point model has behind it.
        options: how.
        seconds: how long.
        layers: how many there are, before the first of them; later 0.

    Raises:
        RecipeError: the time is too short for a few steps of the first layer.
    """
    constants = Constants()
    held, training = pairs[::_HELD_SHARE], [pair for place, pair in enumerate(pairs) if place % _HELD_SHARE]

    def loss(pair: tuple[_Batch, Alive], weights: Alive) -> Tensor:
        made = part.forward(pair[0].rounded, weights, constants)
        return torch.stack([relative_error(made[value], pair[1][value]) for value in part.targets]).mean()

    @torch.no_grad()
    def look() -> float:
        weights = _weights(matrices)
        return float(torch.stack([loss(pair, weights) for pair in held]).mean())

    start = best = look()
    kept = _copied(matrices)
    began, done, looked, share = time.monotonic(), 0, 0, 0.0
    for pair in map(training.__getitem__, shuffled(len(training))):
        with half_precision():
            loss(pair, _weights(matrices)).backward()  # type: ignore[no-untyped-call]
        done, spent = done + 1, time.monotonic() - began
        if done == 1 and options.steps is None and seconds < _FEWEST_STEPS * spent:
            if layers:
                raise _too_short(options.time, seconds, spent, layers)
            break
        share = done / options.steps if options.steps else spent / seconds
        rate = options.learning_rate or (1 / options.steps if options.steps else spent / done / seconds)
        for one in matrices:
            one.move(rate * max(1 - share, 0.0), options.scale_learning_rate * rate * max(1 - share, 0.0))
        if share * _LOOKS >= looked + 1 or share >= 1:
            looked = int(share * _LOOKS)
            found = look()
            if found < best:
                best, kept = found, _copied(matrices)
        if share >= 1:
            break
    with torch.no_grad():
        for parameter, value in zip(_parameters(matrices), kept, strict=True):
            parameter.copy_(value)
    progress.note(f"{matrices[0].layer.name}: {done} steps, error {start:.2e} becomes {best:.2e}")


def _too_short(whole: float, seconds: float, step_s: float, layers: int) -> RecipeError:
    needed = whole + layers * (_FEWEST_STEPS * step_s - seconds)
    return RecipeError(
        f"--train {whole:g}s: a layer gets {max(seconds, 0):.1f} s, and a step takes {step_s:.1f} s here; give "
        f"{ceil(needed / 60)}m or more, or train on less text (--set train.windows=32)"
    )


def _parameters(matrices: Sequence[_Matrix]) -> list[nn.Parameter]:
    return [parameter for one in matrices for parameter in (one.weight, one.grid.ratio)]


def _copied(matrices: Sequence[_Matrix]) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in _parameters(matrices)]


def _weights(matrices: Sequence[_Matrix]) -> Alive:
    """Return the rounded weights by the values that the products read."""
    return {one.layer.node.inputs[1]: one.value() for one in matrices if one.layer.node.inputs[1] is not None}


def _without(alive: Alive, others: Alive) -> Alive:
    return {value: tensor for value, tensor in alive.items() if value not in others}


@torch.no_grad()
def _begun(before: Sequence[Step], inputs: Mapping[ir.Value, Tensor], tables: Alive) -> _Batch:
    """Return a batch in front of the first layer; `tables`: embeddings as they will be."""
    constants = Constants()
    return _Batch(advance(inputs, before, constants), _without(advance({**inputs, **tables}, before, constants), tables))


def _parts(model: ir.Model, groups: Sequence[Sequence[Rounded]]) -> tuple[tuple[Step, ...], list[_Part]]:
    """Return the steps before the first matrix, and the decoder layers; groups that are entangled become one layer."""
    nodes = list(model.graph)
    places = {node: place for place, node in enumerate(nodes)}
    head = next((places[layer.node] for layer in find_layers(model) if layer.head), len(nodes))
    alive = _spans(nodes, {one.layer.node for group in groups for one in group})
    merged: list[list[Rounded]] = []
    for group in sorted(groups, key=lambda group: min(places[one.layer.node] for one in group)):
        first = min(places[one.layer.node] for one in group)
        if merged and first <= max(places[one.layer.node] for one in merged[-1]):
            merged[-1] += group
        else:
            merged.append([*group])
    firsts = [min(places[one.layer.node] for one in group) for group in merged]
    cuts = [firsts[0]]
    for group, following in zip(merged, [*firsts[1:], head], strict=True):
        behind = range(max(places[one.layer.node] for one in group) + 1, max(following, cuts[-1]) + 1)
        counts = {place: sum(begin < place <= end for begin, end in alive.values()) for place in behind}
        cuts.append(min(counts, key=lambda place: (counts[place], -place)))
    steps = steps_of(nodes, (), operator_of)
    parts = []
    for group, (begin, end) in zip(merged, itertools.pairwise(cuts), strict=True):
        made = (value for node in nodes[begin:end] for value in node.outputs if value in alive and alive[value][1] >= end)
        parts.append(_Part(tuple(steps[begin:end]), tuple(group), tuple(value for value in made if is_float(value))))
    return tuple(steps[: cuts[0]]), parts


def _spans(nodes: Sequence[ir.Node], matrices: Collection[ir.Node]) -> dict[ir.Value, tuple[int, int]]:
    """Return where each tensor that a matrix has reached is made, and where it is read last."""
    found: dict[ir.Value, tuple[int, int]] = {}
    for place, node in enumerate(nodes):
        reached = node in matrices
        for value in node.inputs:
            if value in found:
                found[value] = found[value][0], place
                reached = True
        if reached:
            found |= dict.fromkeys(node.outputs, (place, place))
    return found
