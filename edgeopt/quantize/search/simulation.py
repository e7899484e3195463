"""What roundings do to a model's outputs, each alone or several together, without a quantized model for each question.

One session on the floating-point model serves all questions: the rounding of each activation is switched by an input, and its
grid is an input as well (`apply/gates.py`). So a search learns the noise of every rounding, and ranges that were chosen in
different ways are compared. Weights are exact there; their roundings have a session of their own where they matter.

Where both layers and residual additions read an activation, it counts as two roundings: a residual stream that stays in
floating point is exact, although the layers that branch off still read it rounded.

Noises are measured by halves, each half again only where it holds a share of the noise that matters, and what one half does
not bring is the other's: an eighth of the runs that one at a time takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set

import numpy as np
import onnx_ir as ir

from edgeopt import progress
from edgeopt.batches import Batch
from edgeopt.graph.matching import activations, by_name, name_of, own_consumers
from edgeopt.quantize.apply.bias import rounded_layers
from edgeopt.quantize.apply.gates import Gate, Gated, Rounded
from edgeopt.quantize.output_parts import Noises
from edgeopt.quantize.plan.operands import WEIGHTED
from edgeopt.quantize.plan.plan import Plan
from edgeopt.quantize.plan.shared_ranges import leader_of

_SHARE = 0.03  # of all noise: a group of roundings with less is not looked into
_ADDITIVE = 0.25  # of a group's noise: what is left for the other half is taken as its noise if it is more
_WEIGHTS_SHARE = 0.1  # of the activations' noise: if all weights bring less, they are taken to bring the same each


class Roundings:
    """The roundings of any placement of a model's nodes, by name."""

    def __init__(self, model: ir.Model, plan: Plan) -> None:
        """Take the activations that `plan` rounds in `model`, which is floating point (and smoothed)."""
        ranges = {tensor.name: tensor for tensor in plan.tensors}
        leaders = {name: leader_of(name, ranges) for name in ranges}
        values, sizes = by_name(model.graph), Counter(leaders.values())
        alone = {name for name in ranges if sizes[leaders[name]] == 1}
        self.gates: dict[str, Gate] = {}
        """What each rounding of activations rounds."""
        self._symmetric = plan.scheme.symmetric_activation
        self._parts = {name: self._split(values[name], model.graph) for name in alone if name in values}
        self._ranges, self._leaders = ranges, leaders
        self._read: dict[str, frozenset[str]] = {}
        self._given: dict[str, frozenset[str]] = {}
        for node in model.graph:
            read = [self._name(name_of(value), node) for value in activations(node) if value.name in ranges]
            given = [name for value in node.outputs if value.name in ranges for name in self._names(name_of(value))]
            self._read[name_of(node)] = frozenset({of_weights(name_of(node)), *read})
            self._given[name_of(node)] = frozenset(given)

    def of(self, integer: Mapping[str, bool]) -> frozenset[str]:
        """Return the roundings with these nodes on integers, each with whether its output is rounded."""
        found: set[str] = set()
        for name, rounds in integer.items():
            found |= self._read[name]
            if rounds:
                found |= self._given[name]
        return frozenset(found)

    def around(self, node: str) -> frozenset[str]:
        """Return the roundings that a node reads, gives or brings."""
        return self._read[node] | self._given[node]

    @staticmethod
    def _split(value: ir.Value, graph: ir.Graph) -> dict[str, frozenset[str]]:
        """Return the consumers of a tensor: layers apart from others, if there are both."""
        readers = own_consumers(value, graph)
        layers = frozenset(name_of(node) for node in readers if node.op_type in WEIGHTED)
        others = frozenset(name_of(node) for node in readers) - layers
        return {"layers": layers, "others": others} if layers and others else {}

    def _name(self, tensor: str, reader: ir.Node) -> str:
        names = self._names(tensor)
        return names[0] if len(names) == 1 or reader.op_type in WEIGHTED else names[1]

    def _names(self, tensor: str) -> list[str]:
        leader = self._leaders[tensor]
        parts: Mapping[str, frozenset[str] | None] = self._parts.get(leader) or {"all": None}
        names = {f"{leader} for {part}": readers for part, readers in parts.items()}
        for name, readers in names.items():
            if name not in self.gates:
                self.gates[name] = Gate(name, self._ranges[leader], symmetric=self._symmetric, readers=readers)
        return list(names)


def of_weights(node: str) -> str:
    """Return the name of the rounding of a node's weights."""
    return f"weights of {node}"


class Simulation:
    """A session in which every rounding of activations can be switched on."""

    def __init__(self, model: ir.Model, plan: Plan, batches: Sequence[Batch], *, threads: int) -> None:
        """Open it.

        Args:
            model: floating point, smoothed as `plan` says; it is not changed.
            plan: with a range for each activation that is rounded.
            batches: a few samples.
            threads: for inference.

        Raises:
            ModelError: onnxruntime does not load it: a subgraph reads what would be switched.
        """
        self.roundings = Roundings(model, plan)
        self._model, self._batches, self._threads = model, batches, threads
        gates = list(self.roundings.gates.values())
        self._gated = Gated(model, gates, batches, threads=threads, adjustable=True)

    def shares(self, integer: Mapping[str, bool], plan: Plan, batches: Sequence[int]) -> Noises:
        """Return the noise of each batch, [batches, parts], with these nodes' activations rounded over the ranges of `plan`."""
        ranges = {tensor.name: tensor for tensor in plan.tensors}
        return self._gated.shares(self.roundings.of(integer), ranges=ranges, batches=batches)

    def noises(self, integer: Mapping[str, bool], quantized: ir.Model, batches: Sequence[int]) -> dict[str, Noises]:
        """Return the noise of each rounding alone, scaled so that they add up to what all bring together.

        Args:
            integer: the nodes on integers.
            quantized: the quantized model, whose rounded weights are tried.
            batches: the numbers of the samples.
        """
        wanted = self.roundings.of(integer)
        names = [name for name in self.roundings.gates if name in wanted]

        def of_activations(group: Set[str]) -> Noises:
            return self._gated.noise(group, batches=batches)

        total = of_activations(frozenset(names))
        layers = [layer for layer in rounded_layers(self._model, quantized) if name_of(layer.node) in integer]
        gates = []
        for layer in layers:
            name, weight = name_of(layer.node), Rounded(name_of(layer.node.inputs[1]), layer.dequantize)
            gates.append(Gate(of_weights(name), None, name, weight))
        samples = [self._batches[number] for number in batches]
        weights = Gated(self._model, gates, samples, threads=self._threads)
        weights.parts = self._gated.parts  # found on all samples
        every = frozenset(gate.name for gate in gates)
        of_all = weights.noise(every)
        least = _SHARE * (total + of_all)
        found = apart(names, of_activations, least, total)
        if np.all(of_all <= _WEIGHTS_SHARE * total):
            return found | dict.fromkeys(every, of_all / max(len(every), 1))
        return found | apart([gate.name for gate in gates], weights.noise, least, of_all)


def apart(names: Sequence[str], measure: Callable[[Set[str]], Noises], least: Noises, total: Noises) -> dict[str, Noises]:
    """Return the noise of each of `names`, together `total`.

    Args:
        names: of roundings; neighbours in the model stand beside each other.
        measure: returns the noise of some together.
        least: a group with less is not looked into; each has its share.
        total: the noise of all together.
    """
    found: dict[str, Noises] = {}
    with progress.task("noise of roundings", total=len(names)) as advance:

        def look_into(group: Sequence[str], noise: Noises) -> None:
            if len(group) == 1 or np.all(noise <= least):
                found.update(dict.fromkeys(group, noise / len(group)))
                for _ in group:
                    advance()
                return
            first, second = group[: len(group) // 2], group[len(group) // 2 :]
            of_first = measure(frozenset(first))
            of_second = noise - of_first  # noises add up, nearly
            if np.any(of_second < _ADDITIVE * noise):
                of_second = measure(frozenset(second))
            look_into(first, of_first)
            look_into(second, of_second)

        if names:
            look_into(names, total)
    scale = total / np.maximum(sum(found.values()), np.finfo(np.float64).tiny)
    return {name: noise * scale for name, noise in found.items()}
