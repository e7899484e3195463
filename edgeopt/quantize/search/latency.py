"""Latency-aware: a layer whose integer form is not faster on the target stays in floating point.

Both models run on the target with onnxruntime's profiler on; of each operator the best of a few turns counts. A layer's
integer time is its kernel's and its own conversions' (the QuantizeLinear and DequantizeLinear nodes before it or behind it
alone). Which layers are slower is only a guess, since what flows between them changes as well: so the model with those
exceptions is timed whole against the one without, in turns, and the exceptions stay only if it is faster by more than the turns
differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import onnx_ir as ir

from edgeopt import progress
from edgeopt.batches import Batch
from edgeopt.graph import files
from edgeopt.graph.integer_operators import PAIRS
from edgeopt.graph.matching import name_of, named_nodes
from edgeopt.lifetime import temporary_folder
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import Plan
from edgeopt.quantize.search.trials import Trials
from edgeopt.targets.requests import Sent, open_variant, time_blocks, time_operators
from edgeopt.targets.runner import Runner, write_batches
from edgeopt.targets.target import Target

_TURNS, _RUNS = 5, 10
_SLOWER = 1.05  # an integer layer must take this share of its floating form's time to be suspected
_RENAMED = re.compile(r"(_token_\d+|_nchwc|/MatMulAddFusion)+$")


@dataclass(frozen=True)
class LayerTime:
    """Microseconds per run of one layer, in floating point and on integers with its own conversions."""

    name: str
    op: str
    float_us: float
    integer_us: float


def keep_fast(plan: Plan, trials: Trials, target: Target) -> tuple[Plan, tuple[LayerTime, ...]]:
    """Return the plan with the layers in floating point that gain the target time there, and the time of each layer.

    Args:
        plan: as placed.
        trials: how to try a plan; its samples are of the usual shape.
        target: where it runs; it must be reachable from here, and no emulator.

    Raises:
        MachineError: the target cannot be measured from here.
    """
    quantized = trials.finished(trials.make(plan))
    with _running(target, {"float": trials.floating(plan), "integer": quantized}, trials.samples) as runner:
        times = layer_times(quantized, plan, _best(runner, "float"), _best(runner, "integer"))
    slow = [layer.name for layer in times if layer.integer_us > _SLOWER * layer.float_us]
    if not slow:
        return _told(plan, 0, "every integer layer is as fast as its floating form, or faster"), times
    other = plan.without(slow, Cause.SLOWER, basis=trials.basis)
    with _running(target, {"all": quantized, "mixed": trials.finished(trials.make(other))}, trials.samples) as runner:
        faster, spread = compare(runner, "all", "mixed")
    names = ", ".join(slow[:3]) + (" …" if len(slow) > 3 else "")
    measured = f"{faster:.3f} × as fast with them in floating point, turns differ by {spread:.3f} (prefer_faster)"
    if faster - spread <= 1:
        return _told(plan, 0, f"{len(slow)} layers look slower ({names}), but the model is {measured}"), times
    return _told(other, len(slow), f"{names}: the model is {measured}"), times


def _told(plan: Plan, count: int, reason: str) -> Plan:
    return plan.decided("faster as floats", f"{count} layers", reason)


def layer_times(
    quantized: ir.Model, plan: Plan, floating: Mapping[str, float], integer: Mapping[str, float]
) -> tuple[LayerTime, ...]:
    """Return the times of the layers that multiply and are in both profiles (us by node name), in the plan's order."""
    nodes = named_nodes(quantized.graph)
    found = []
    for layer in plan.integer_nodes:
        if layer.name not in floating or layer.name not in integer:
            continue
        own = sum(integer.get(name, 0.0) for name in _own_conversions(nodes[layer.name]))
        found.append(LayerTime(layer.name, layer.op, floating[layer.name], integer[layer.name] + own))
    return tuple(found)


def _own_conversions(node: ir.Node) -> Iterator[str]:
    """Yield the conversions that exist for this node alone: those of an input without other consumers, and of its output."""
    value = node.inputs[0]
    while (
        value is not None and (made := value.producer()) is not None and made.op_type in PAIRS and len(value.consumers()) == 1
    ):
        yield name_of(made)
        value = made.inputs[0]
    readers = node.outputs[0].consumers()
    while len(readers) == 1 and readers[0].op_type in PAIRS:
        yield name_of(readers[0])
        readers = readers[0].outputs[0].consumers()


@contextmanager
def _running(target: Target, models: Mapping[str, ir.Model], batches: Sequence[Batch]) -> Iterator[Runner]:
    from edgeopt.targets.availability import require
    from edgeopt.targets.transports import connect

    require(target)
    with temporary_folder() as folder, connect(target) as connection:
        inputs = Path(folder) / "inputs.npz"
        write_batches(batches, inputs)
        sent = connection.send(inputs)
        with connection.start() as runner:
            for name, model in models.items():
                path = Path(folder) / f"{name}.onnx"
                files.save(model, path)
                open_variant(runner, name, Sent(connection.send(path), sent, target.provider.session()))
            yield runner


def _best(runner: Runner, name: str) -> dict[str, float]:
    """Return the best of a few turns for each operator, us by the node's name in the file."""
    best: dict[str, float] = {}
    with progress.task(f"time {name} layers", total=_TURNS) as advance:
        for _ in range(_TURNS):
            turn: dict[str, float] = {}
            for row in time_operators(runner, name, runs=_RUNS).operators:
                source = _RENAMED.sub("", row.name)
                turn[source] = turn.get(source, 0.0) + row.us
            best = {node: min(us, best.get(node, us)) for node, us in turn.items()}
            advance()
    return best


def compare(runner: Runner, before: str, after: str) -> tuple[float, float]:
    """Return how many times as fast as `before` the variant `after` is, in turns, and half the span of the middle turns."""
    blocks = [(name, 0, _RUNS) for _ in range(2 * _TURNS) for name in (before, after)]
    taken = time_blocks(runner, blocks, limit_s=120.0).blocks
    best = [min(block[1]) for block in taken]
    ratios = sorted(a / b for a, b in zip(best[::2], best[1::2], strict=False))
    middle = ratios[len(ratios) // 4 : len(ratios) - len(ratios) // 4]
    return median(ratios), (middle[-1] - middle[0]) / 2
