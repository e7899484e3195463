"""Which layers stay in floating point: those whose integer form costs more accuracy than the time it saves is worth.

Each rounding (of a layer's weights, of an activation) adds noise to the model's outputs, each integer kernel saves time, each
conversion costs some. The noise of every rounding is measured alone on a few samples (`apply/gates.py`); noises add up, nearly.
The time of a placement is predicted from the target's kernel costs (`kernel_times.py`). Then the search moves layers, one after
the other, from integers to floating point, a convolution alone or with the activation functions around it:

1. every move that makes the model faster, and so more exact as well, if that is a few percent in all: depthwise convolutions
   and SiLU, whose integer kernels are slower than their floating ones on some targets, are found here;
2. then the move with the most noise removed per microsecond, as long as the outputs' SQNR is below the goal and a percent of
   time still buys at least `_WORTH_DB`; below `_FLOOR_DB` any price is paid.

Measuring roundings by halves, each half again only where it holds a share of the noise that matters, takes about a quarter of
the runs that one at a time takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt import progress
from edgeopt.graph import files
from edgeopt.graph.matching import name_of, sole_consumer
from edgeopt.quantize.apply.bias import rounded_layers
from edgeopt.quantize.apply.gates import Gate, Gated, Rounded
from edgeopt.quantize.plan.cause import Cause, Why
from edgeopt.quantize.plan.operands import WEIGHTED
from edgeopt.quantize.plan.placement import place, rounded_tensors
from edgeopt.quantize.plan.plan import NodePlan, Plan, TensorPlan
from edgeopt.quantize.search.kernel_times import KernelTimes
from edgeopt.quantize.search.trials import LARGEST_BYTES, Outcome, Trials
from edgeopt.targets.target import Rules

_SMALLEST_US = 100.0  # of smaller models the time is that of starting kernels, and what is asked for is a small file
_GOAL_DB = 26.0
_FLOOR_DB = 12.0
_WORTH_DB = 0.25
_SAMPLES = 3
_SHARE = 0.03  # of all noise: a group of roundings with less is not looked into
_LOOKED_AT = 40  # moves that are tried for each one that is made
_FASTER_SHARE = 0.03  # of the time: for less, the file need not grow
_KEPT_SHARE = 0.1  # of the MACs on integers: a model that is faster without them is warned of instead
_FASTER_US = 0.5  # less is within what the prediction does not know
_AROUND = {"Add", "Clip", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mul", "Relu", "Sigmoid", "Sum", "Tanh"}
Noise = NDArray[np.float64]


@dataclass(frozen=True)
class _Placed:
    """A set of floating nodes, and what follows from it."""

    floating: frozenset[str]
    nodes: tuple[NodePlan, ...]
    us: float
    noise: Noise
    roundings: frozenset[str]
    """The nodes whose weights are rounded, and the tensors."""

    @property
    def db(self) -> float:
        """The predicted SQNR of the worst output."""
        return float(-10 * np.log10(max(self.noise.max(initial=0.0), 1e-15)))


def balance(plan: Plan, quantized: ir.Model, trials: Trials) -> Outcome:
    """Return the plan, and its model, with the layers in floating point that are not worth their roundings.

    Args:
        plan: as placed by the target's rules.
        quantized: what `plan` makes of the model.
        trials: how to try a plan.
    """
    model = trials.basis.model
    if files.weights_bytes(model) > LARGEST_BYTES:
        reason = f"its weights take more than {LARGEST_BYTES // 10**6} MB: they would be held three times (float_layers)"
        return Outcome(plan.decided("floating layers", "not searched for", reason), quantized)
    times = trials.times
    if times.total_us(plan.nodes) < _SMALLEST_US:
        return Outcome(plan, quantized)
    noises = _noises(plan, quantized, trials)
    search = _Search(model, trials.basis.quantization.rules, plan, times, noises)
    start = search.placed(frozenset())
    faster = search.faster(start)
    kept_macs = times.integer_macs(faster.nodes) >= _KEPT_SHARE * times.integer_macs(start.nodes)
    if faster.us > (1 - _FASTER_SHARE) * start.us or not kept_macs:
        faster = start  # (hardly an integer layer would be left, and what is asked for is a quantized file)
    best = search.more_exact(faster)
    if not best.floating:
        return Outcome(plan, quantized)
    kept = plan.without(sorted(best.floating), Cause.BALANCE, basis=trials.basis)
    made = trials.make(kept)
    before, after = map(trials.exact.db, (quantized, made))
    reason = (
        f"outputs of {before:.1f} dB become {after:.1f} dB, predicted time {start.us:.0f} → {best.us:.0f} us; "
        "their integer form costs more accuracy than its time is worth, or more time (float_layers)"
    )
    count = sum(node.op in WEIGHTED for node in kept.nodes if node.name in best.floating)
    return Outcome(kept.decided("floating layers", f"{count} layers", reason), made)


def _noises(plan: Plan, quantized: ir.Model, trials: Trials) -> dict[str, Noise]:
    """Return the noise at the outputs of each rounding alone: of weights by their node, of activations by their tensor."""
    model = trials.floating(plan)
    ranges = {tensor.name: tensor for tensor in plan.tensors}
    leaders = dict.fromkeys(_leader(name, ranges) for name in rounded_tensors(model, plan.nodes) if name in ranges)
    symmetric = plan.scheme.symmetric_activation
    gates = {name: Gate(name, ranges[name], symmetric=symmetric) for name in leaders}
    for layer in rounded_layers(model, quantized):  # behind the activations, so that layers read these as switched
        name, weight = name_of(layer.node), Rounded(name_of(layer.node.inputs[1]), layer.dequantize)
        gates[name] = Gate(name, None, name, weight)
    session = Gated(model, list(gates.values()), trials.samples[:_SAMPLES], threads=trials.threads)
    names = list(gates)
    found: dict[str, Noise] = {}
    total = session.noise(frozenset(names))
    with progress.task("noise of roundings", total=len(names)) as advance:

        def look_into(group: Sequence[str]) -> None:
            noise = session.noise(frozenset(group))
            if len(group) == 1 or np.all(noise <= _SHARE * total):
                found.update(dict.fromkeys(group, noise / len(group)))
                for _ in group:
                    advance()
                return
            look_into(group[: len(group) // 2])
            look_into(group[len(group) // 2 :])

        look_into(names)
    scale = total / np.maximum(sum(found.values()), np.finfo(np.float64).tiny)
    return {name: noise * scale for name, noise in found.items()}


def _leader(name: str, ranges: Mapping[str, TensorPlan]) -> str:
    """Return the tensor whose range this one takes, since both hold the same values: rounding them again changes nothing."""
    while name in ranges and (source := ranges[name].follows) is not None and source in ranges:
        name = source
    return name


class _Search:
    """Moves of layers from integers to floating point, judged by predicted time and noise."""

    def __init__(self, model: ir.Model, rules: Rules, plan: Plan, times: KernelTimes, noises: Mapping[str, Noise]) -> None:
        self._model, self._rules, self._times, self._noises = model, rules, times, noises
        self._fixed = plan.floating
        self._ranges = {tensor.name: tensor for tensor in plan.tensors}
        self._outputs = next((noise.size for noise in noises.values()), 0)
        names = {node.name for node in plan.integer_nodes}
        self._moves = list(dict.fromkeys(_moves([node for node in model.graph if node.name in names])))
        self._touched = {name_of(node): frozenset(self._read_or_given(node)) for node in model.graph}

    def placed(self, floating: frozenset[str]) -> _Placed:
        """Return the placement with these nodes in floating point."""
        nodes = place(self._model, {**dict.fromkeys(floating, Why(Cause.BALANCE)), **self._fixed}, self._rules)
        tensors = {_leader(name, self._ranges) for name in rounded_tensors(self._model, nodes)}
        roundings = frozenset(tensors.union(node.name for node in nodes if node.precision != "float"))
        return _Placed(floating, nodes, self._times.total_us(nodes), self._sum(roundings), roundings)

    def _read_or_given(self, node: ir.Node) -> list[str]:
        return [_leader(name_of(value), self._ranges) for value in (*node.inputs, *node.outputs) if value is not None]

    def _sum(self, roundings: Iterable[str]) -> Noise:
        parts = [self._noises[name] for name in roundings if name in self._noises]
        return np.sum(parts, axis=0) if parts else np.zeros(self._outputs)

    def faster(self, placed: _Placed) -> _Placed:
        """Make every move that saves time, until none does; what was refused is tried again where something near it moved."""
        moves = self._moves
        while moves:
            made: set[str] = set()
            for move in moves:
                if move <= placed.floating:
                    continue
                other = self.placed(placed.floating | move)
                if other.us < placed.us - _FASTER_US:
                    placed, made = other, made | move
            near = {tensor for name in made for tensor in self._touched[name]}
            moves = [move for move in self._moves if any(near.intersection(self._touched[name]) for name in move)]
        return placed

    def more_exact(self, placed: _Placed) -> _Placed:
        """Make the moves that remove the most noise per microsecond, as long as they are worth it."""
        whole = placed.us
        while placed.db < _GOAL_DB:
            others = [self.placed(placed.floating | move) for move in self._noisiest(placed)]
            better = [other for other in others if other.db > placed.db]
            if not better:
                return placed
            before = placed
            best = max(better, key=lambda other: _worth(before, other, whole))
            if placed.db >= _FLOOR_DB and _worth(placed, best, whole) < _WORTH_DB:
                return placed
            placed = best
        return placed

    def _noisiest(self, placed: _Placed) -> list[frozenset[str]]:
        """Return the moves that touch the most noise, since they alone can remove much."""
        moves = [move for move in self._moves if not move <= placed.floating]
        return sorted(moves, key=lambda move: -self._touched_noise(move, placed))[:_LOOKED_AT]

    def _touched_noise(self, move: frozenset[str], placed: _Placed) -> float:
        """Return the noise that could go with the move, at the output where it is most."""
        nodes = move - placed.floating
        keys = nodes.union(*(self._touched[name] for name in nodes)) & placed.roundings
        return float(np.max(self._sum(keys), initial=0.0))


def _worth(before: _Placed, after: _Placed, whole_us: float) -> float:
    """Return the decibels gained per percent of time."""
    return (after.db - before.db) / max((after.us - before.us) / whole_us * 100, 0.01)


def _moves(nodes: Sequence[ir.Node]) -> Iterable[frozenset[str]]:
    """Yield groups of integer nodes that may go together, by name.

    A layer alone, with what is elementwise before or behind it, or both; what is elementwise alone; two and three layers behind
    one another.
    """
    integer = set(nodes)
    for node in nodes:
        if node.op_type not in WEIGHTED:
            yield _named({node})
            continue
        behind = _elementwise([reader for value in node.outputs for reader in value.consumers()], integer, forward=True)
        before = _elementwise(_producers(node), integer, forward=False)
        for group in (set(), behind, before, behind | before):
            yield _named({node} | group)
        if behind:
            yield _named(behind)
        yield from map(_named, _chains(node, integer))


def _named(nodes: Iterable[ir.Node]) -> frozenset[str]:
    return frozenset(name_of(node) for node in nodes)


def _producers(node: ir.Node) -> list[ir.Node]:
    return [producer for value in node.inputs if value is not None and (producer := value.producer()) is not None]


def _chains(node: ir.Node, integer: set[ir.Node]) -> Iterable[set[ir.Node]]:
    """Yield two and three layers behind one another, with what is elementwise between them."""
    found = {node}
    for _ in range(2):
        between: list[ir.Node] = []
        reader = sole_consumer(node.outputs[0])
        while reader is not None and reader.op_type in _AROUND and reader in integer:
            between.append(reader)
            reader = sole_consumer(reader.outputs[0])
        if reader is None or reader.op_type not in WEIGHTED or reader not in integer:
            return
        found = {*found, *between, reader}
        node = reader
        yield found


def _elementwise(nodes: list[ir.Node], integer: set[ir.Node], *, forward: bool) -> set[ir.Node]:
    """Return the elementwise integer nodes that are reached from `nodes` through nothing but their kind."""
    found: set[ir.Node] = set()
    while nodes:
        node = nodes.pop()
        if node.op_type in _AROUND and node in integer and node not in found:
            found.add(node)
            nodes += [reader for value in node.outputs for reader in value.consumers()] if forward else _producers(node)
    return found
