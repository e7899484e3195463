"""Which layers stay in floating point: those whose integer form costs more accuracy than the time it saves is worth.

Each rounding (of a layer's weights, of an activation) adds noise to the model's outputs, each integer kernel saves time, each
conversion costs some. The noise of every rounding is measured alone on a few samples (`simulation.py`); noises add up, nearly.
The time of a placement is predicted from the target's kernel costs (`kernel_times.py`). Then the search moves layers, one after
the other, from integers to floating point, a convolution alone or with the activation functions around it:

1. every move that makes the model faster, and so more exact as well, if that is a few percent in all: depthwise convolutions
   and SiLU, whose integer kernels are slower than their floating ones on some targets, are found here;
2. then the move with the most noise removed per microsecond, as long as the outputs' SQNR is below the goal and a percent of
   time still buys at least `_WORTH_DB`, but never for more than a part of the time that integers save; below `_FLOOR_DB` any
   price is paid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from edgeopt.errors import ModelError
from edgeopt.graph import files
from edgeopt.graph.matching import name_of, sole_consumer
from edgeopt.quantize.inspect.exact import ExactOutputs
from edgeopt.quantize.output_parts import Noises, decibels
from edgeopt.quantize.plan.cause import Cause, Why
from edgeopt.quantize.plan.operands import WEIGHTED
from edgeopt.quantize.plan.placement import Placer
from edgeopt.quantize.plan.plan import Decision, Plan
from edgeopt.quantize.search.range_choice import Choice
from edgeopt.quantize.search.simulation import Roundings, Simulation
from edgeopt.quantize.search.trials import LARGEST_BYTES, Trials

_SMALLEST_US = 100.0  # of smaller models the time is that of starting kernels, and what is asked for is a small file
_GOAL_DB = 26.0
_FLOOR_DB = 12.0
_WORTH_DB = 0.25
_SAMPLES = 3
_LOOKED_AT = 40  # moves that are tried for each one that is made
_LOOKED_AT_AGAIN = 8  # of those that were tried before: what the others were worth then tells enough
_FASTER_SHARE = 0.03  # of the time: for less, the file need not grow
_KEPT_SHARE = 0.1  # of the MACs on integers: a model that is faster without them is warned of instead
_KEPT_GAIN = 0.6  # of the time that integers save: accuracy may cost the rest
_FASTER_US = 0.5  # less is within what the prediction does not know
_AROUND = {"Add", "Clip", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mul", "Relu", "Sigmoid", "Sum", "Tanh"}
_SUMS = {"Add", "Sum"}


@dataclass(frozen=True)
class Balanced:
    """The nodes that are to float, and what is said of it; neither where all stays as it was."""

    floating: frozenset[str] = frozenset()
    decision: Decision | None = None


@dataclass(frozen=True)
class _Placed:
    """A set of floating nodes, and what follows from it."""

    floating: frozenset[str]
    integer: Mapping[str, bool]
    """The integer nodes, each with whether its output is rounded."""
    us: float
    roundings: frozenset[str] = frozenset()
    db: float = 0.0
    """The predicted SQNR of the worst output; as long as no noise is known 0."""


def balanced(plan: Plan, trials: Trials, choice: Choice | None) -> Plan:
    """Return the plan with the layers in floating point that are not worth their roundings, its ranges chosen for the others.

    Args:
        plan: as placed by the target's rules, perhaps with exceptions.
        trials: how to try a plan.
        choice: how ranges are chosen, where they are not yet; None: those of the plan stay.
    """
    model = trials.basis.model
    if (large := too_large(model)) is not None:
        return plan.decided(large.what, large.choice, large.reason)
    samples = list(trials.samples[:_SAMPLES])
    batches = [*samples, *(choice.batches if choice is not None else ())]
    found, simulation = Balanced(), None
    if plan.integer_nodes:
        try:
            simulation = Simulation(trials.floating(plan), plan, batches, threads=trials.threads)
            found = balance(plan, trials, simulation)
        except ModelError:  # a subgraph reads what would be switched
            simulation = None
    made = plan.without(sorted(found.floating), Cause.BALANCE, basis=trials.basis) if found.floating else plan
    if choice is not None:
        held = range(len(samples), len(batches))
        made = _chosen(made, choice, trials, simulation, held)
    decisions = [item for item in (*plan.decisions, found.decision) if item is not None and item not in made.decisions]
    return replace(made, decisions=(*made.decisions, *decisions))


def _chosen(plan: Plan, choice: Choice, trials: Trials, simulation: Simulation | None, held: range) -> Plan:
    """Return the plan of the best ranges, with the same nodes in floating point as `plan`."""
    basis, integer = trials.basis, plan.on_integers
    if simulation is not None and choice.in_ranges_alone:
        chosen = choice.by(lambda other: simulation.shares(integer, other, held))
    else:
        exact = ExactOutputs(basis.model, choice.batches, trials.threads)
        chosen = choice.by(lambda other: exact.shares(trials.make(basis.derived(other, plan.floating))))
    return basis.derived(chosen, plan.floating)


def balance(plan: Plan, trials: Trials, simulation: Simulation) -> Balanced:
    """Return the layers that are not worth their roundings.

    Args:
        plan: as placed by the target's rules.
        trials: how to try a plan.
        simulation: of the plan's roundings; its first batches are run.
    """
    search = _Search(trials, plan, simulation.roundings)
    start = search.placed(frozenset())
    if start.us < _SMALLEST_US:
        return Balanced()
    faster = search.faster(start)
    kept_macs = trials.times.integer_macs(faster.integer) >= _KEPT_SHARE * trials.times.integer_macs(start.integer)
    if faster.us > (1 - _FASTER_SHARE) * start.us or not kept_macs:
        faster = start  # (hardly an integer layer would be left, and what is asked for is a quantized file)
    batches = range(min(_SAMPLES, len(trials.samples)))
    search.noises = simulation.noises(faster.integer, trials.make(plan), batches)
    known = search.known(faster)
    best = search.more_exact(known)
    if not best.floating:
        return Balanced()
    count = sum(node.op in WEIGHTED for node in plan.nodes if node.name in best.floating)
    gained = f"; of these some for accuracy: {known.db:.1f} → {best.db:.1f} dB predicted" if best.db > known.db else ""
    reason = (
        f"predicted time {start.us:.0f} → {best.us:.0f} us{gained}; "
        "their integer form costs more accuracy than its time is worth, or more time (float_layers)"
    )
    return Balanced(best.floating, Decision("floating layers", f"{count} layers", reason))


def too_large(model: ir.Model) -> Decision | None:
    """Return what is said where a model is so large that no layers are searched for; else None."""
    if files.weights_bytes(model) <= LARGEST_BYTES:
        return None
    reason = f"its weights take more than {LARGEST_BYTES // 10**6} MB: they would be held three times (float_layers)"
    return Decision("floating layers", "not searched for", reason)


class _Search:
    """Moves of layers from integers to floating point, judged by predicted time and noise."""

    def __init__(self, trials: Trials, plan: Plan, roundings: Roundings) -> None:
        model = trials.basis.model
        self._times, self._roundings = trials.times, roundings
        self._placer = Placer(model, trials.basis.quantization.rules)
        self.noises: Mapping[str, Noises] = {}
        self._fixed = plan.floating
        names = {node.name for node in plan.integer_nodes}
        self._moves = list(dict.fromkeys(_moves([node for node in model.graph if node.name in names])))
        self._near = {move: frozenset().union(*(roundings.around(name) for name in move)) for move in self._moves}

    def placed(self, floating: frozenset[str]) -> _Placed:
        """Return the placement with these nodes in floating point."""
        integer = self._placer.on_integers({**dict.fromkeys(floating, Why(Cause.BALANCE)), **self._fixed})
        return _Placed(floating, integer, self._times.us(integer))

    def known(self, placed: _Placed) -> _Placed:
        """Return the placement with its roundings and their noise."""
        roundings = self._roundings.of(placed.integer)
        return replace(placed, roundings=roundings, db=decibels(self._sum(roundings)))

    def _sum(self, roundings: Iterable[str]) -> Noises:
        parts = [self.noises[name] for name in sorted(roundings) if name in self.noises]
        return np.sum(parts, axis=0) if parts else np.zeros(1)

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
                    placed = other
                    made |= self._near[move]
            moves = [move for move in self._moves if made.intersection(self._near[move])]
        return placed

    def more_exact(self, placed: _Placed) -> _Placed:
        """Make the moves that remove the most noise per microsecond, as long as they are worth it."""
        whole = placed.us
        most = whole + (1 - _KEPT_GAIN) * max(self._times.us({}) - whole, 0.0)
        worths: dict[frozenset[str], float] = {}
        """What each move was worth when it was tried last."""
        while placed.db < _GOAL_DB:
            below = placed.db < _FLOOR_DB
            moves = sorted(self._noisiest(placed), key=lambda move: -worths.get(move, np.inf))
            likeliest = len([move for move in moves if move not in worths]) + _LOOKED_AT_AGAIN
            for some in (moves[:likeliest], moves[likeliest:]):
                others = {move: self.known(self.placed(placed.floating | move)) for move in some}
                worths |= {move: _worth(placed, other, whole) for move, other in others.items()}
                able = [other for other in others.values() if other.db > placed.db and (below or other.us <= most)]
                best = max(able, key=lambda other: _worth(placed, other, whole), default=None)
                if best is not None and (below or _worth(placed, best, whole) >= _WORTH_DB):
                    placed = best
                    break
            else:
                return placed
        return placed

    def _noisiest(self, placed: _Placed) -> list[frozenset[str]]:
        """Return the moves that touch the most noise, since they alone can remove much."""
        moves = [move for move in self._moves if not move <= placed.floating]
        return sorted(moves, key=lambda move: -self._touched_noise(move, placed))[:_LOOKED_AT]

    def _touched_noise(self, move: frozenset[str], placed: _Placed) -> float:
        """Return the noise that could go with the move, at the output where it is most."""
        return float(np.max(self._sum(self._near[move] & placed.roundings), initial=0.0))


def _worth(before: _Placed, after: _Placed, whole_us: float) -> float:
    """Return the decibels gained per percent of time; what is beyond the goal does not count."""
    return (min(after.db, _GOAL_DB) - before.db) / max((after.us - before.us) / whole_us * 100, 0.01)


def _moves(nodes: Sequence[ir.Node]) -> Iterable[frozenset[str]]:
    """Yield groups of integer nodes that may go together, by name.

    A layer alone, with what is elementwise before or behind it, or both; what is elementwise alone; two and three layers behind
    one another; residual additions that add to the same stream, and all of them.
    """
    integer = set(nodes)
    if sums := [node for node in nodes if node.op_type in _SUMS]:
        yield _named(sums)
    for node in nodes:
        if node.op_type not in WEIGHTED:
            yield _named({node})
            if node.op_type in _SUMS:
                yield _named(_stream(node, integer))
            continue
        behind = _elementwise([reader for value in node.outputs for reader in value.consumers()], integer, forward=True)
        before = _elementwise(_producers(node), integer, forward=False)
        for group in (set(), behind, before, behind | before):
            yield _named({node} | group)
        if behind:
            yield _named(behind)
        yield from map(_named, _chains(node, integer))


def _stream(node: ir.Node, integer: set[ir.Node]) -> set[ir.Node]:
    """Return the additions that `node` leads to, each reading the sum before it."""
    found: set[ir.Node] = set()
    reached = [node]
    while reached:
        node = reached.pop()
        found.add(node)
        readers = [reader for value in node.outputs for reader in value.consumers()]
        reached += [reader for reader in readers if reader.op_type in _SUMS and reader in integer and reader not in found]
    return found


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
