"""Where a model first goes wrong on its way: torch → ONNX → QDQ → QDQ as optimised → the target's provider.

Each step is compared with the one before it on the same samples. If the outputs agree the step is fine. If not, the first bad
tensor is sought:

torch → ONNX        module by module: each module's output should occur among the ONNX graph's tensors (`torch_modules.py`).
ONNX → QDQ          tensor by tensor, unoptimised, so that each still exists; the first below the limit in the graph's order.
QDQ → optimised     Tensors vanish in fused kernels, and looking at one keeps it from being fused. So the graph is cut at a
optimised → provider  tensor, which becomes its only output, and the first bad cut is found by halving: log2(n) sessions.

What is proposed is the node to leave in floating point (`exclude`): the one whose integers make the bad tensor; where the
tensor is fine before it is rounded, the one that reads it rounded (and the convolution that makes it: those always round).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgeopt import progress
from edgeopt.batches import Array, Batch
from edgeopt.errors import ModelError
from edgeopt.escaping import shell_word
from edgeopt.graph import files
from edgeopt.graph.editing import sort_nodes
from edgeopt.graph.integer_operators import INTEGER_PRODUCTS, INTEGER_WEIGHTS, PAIRS
from edgeopt.graph.matching import by_name, is_captured, is_float, name_of, names_of, produced_by
from edgeopt.graph.outputs import cut, expose, open_exposed, run
from edgeopt.graph.shapes import infer_types
from edgeopt.lifetime import temporary_folder
from edgeopt.quantize.compared_outputs import compared_outputs, expose_compared
from edgeopt.quantize.inspect.layer_noise import all_dequantized, rounded_forms
from edgeopt.quantize.output_parts import PartsNoise, parts_of
from edgeopt.quantize.plan.operands import WEIGHTED
from edgeopt.quantize.plan.placement import ALWAYS_ROUNDED
from edgeopt.quantize.sqnr import CEILING_DB, Noise
from edgeopt.targets.runner import write_batches
from edgeopt.targets.target import Target

Values = Mapping[str, Array]
Runtime = Callable[[ir.Model, Sequence[Batch]], list[Values]]
"""Runs a model in memory on batches: its outputs, batch by batch."""

LIMITS_DB = {"torch → onnx": 60.0, "onnx → qdq": 15.0, "qdq → optimized": 25.0, "optimized → provider": 25.0}
"""Outputs below this are a fault of the step: exact steps leave float32's rounding, kernels a unit of the last place or so."""


@dataclass(frozen=True)
class Step:
    """One step: the SQNR of the outputs against the step before; where they are bad, the first bad tensor and its node."""

    name: str
    output_db: float
    limit_db: float
    tensor: str | None = None
    tensor_db: float | None = None
    node: str | None = None
    proposal: str = ""

    @property
    def ok(self) -> bool:
        """Whether the outputs are as good as the step allows."""
        return self.output_db >= self.limit_db


def diagnose(
    model: Path,
    quantized: Path,
    batches: Sequence[Batch],
    *,
    target: Target | None = None,
    limits_db: Mapping[str, float] = LIMITS_DB,
) -> tuple[Step, ...]:
    """Compare the ONNX file `model` and its quantized form step by step.

    Args:
        model: floating point.
        quantized: the QDQ file made of it.
        batches: a few samples that both take.
        target: where it is to run; None: the step to a provider is left out.
        limits_db: by step, the SQNR of outputs (dB) below which the step is at fault.

    Raises:
        ModelError, DataError: a file cannot be read, or does not run on the samples.
        MachineError: the target cannot be reached from here.
    """
    exact, qdq = _opened(model), _opened(quantized)
    steps = [
        _rounding(exact, all_dequantized(qdq), batches, limits_db["onnx → qdq"]),
        _runtimes("qdq → optimized", qdq, batches, (on_cpu(optimize=False), on_cpu()), limits_db["qdq → optimized"]),
    ]
    if target is not None and target.provider.name != "CPUExecutionProvider":
        both = on_cpu(), on_target(target)
        steps.append(_runtimes("optimized → provider", qdq, batches, both, limits_db["optimized → provider"]))
    return tuple(steps)


def _opened(path: Path) -> ir.Model:
    """Return a model with its nodes in order and outputs that can be compared.

    Raises:
        ModelError: there are none.
    """
    model = files.load(path)
    sort_nodes(model)
    infer_types(model)
    expose_compared(model)
    if not compared_outputs(model.graph):
        raise ModelError(f"{path}: no output is computed from floating-point tensors, so there is nothing to compare")
    return model


def first_fault(steps: Sequence[Step]) -> Step | None:
    """Return the first step that is at fault."""
    return next((step for step in steps if not step.ok), None)


def _rounding(exact: ir.Model, qdq: ir.Model, batches: Sequence[Batch], limit_db: float) -> Step:
    """Compare every tensor that both graphs have by name, as the integer graph rounds it (rounding may stand for a Relu)."""
    there = by_name(qdq.graph)
    outputs = [name for name in compared_outputs(exact.graph) if name in there and there[name].is_graph_output()]
    inner = [value for node in exact.graph for value in node.outputs if not is_captured(value, exact.graph)]
    common = [name for name in names_of(inner) if name in there and there[name].producer() is not None]
    common = list(dict.fromkeys([*common, *outputs]))
    rounded = rounded_forms(qdq)
    forms = [rounded.get(name, name) for name in common]
    before = _values(expose(exact, common), common, batches, optimize=False)
    there_values = _values(expose(qdq, forms), forms, batches, optimize=False)
    after = [{name: values[form] for name, form in zip(common, forms, strict=True)} for values in there_values]
    noise = _compare(before, after)
    noise |= _worst_parts(before, after, [name for name in outputs if name in noise])
    output_db = min((noise[name] for name in outputs if name in noise), default=CEILING_DB)
    if output_db >= limit_db:
        return Step("onnx → qdq", output_db, limit_db)
    bad = next(name for name in common if noise.get(name, CEILING_DB) < limit_db)
    unrounded = _compare([{bad: values[bad]} for values in before], _values(expose(qdq, [bad]), [bad], batches, optimize=False))
    node = _integer_node(there[bad])
    proposed = [node]
    if bad in rounded and unrounded[bad] >= limit_db:
        producer, node = there[bad].producer(), _reader(there[rounded[bad]])
        proposed = [node, name_of(producer) if producer is not None and producer.op_type in ALWAYS_ROUNDED else None]
    exclude = " ".join(f"--exclude {shell_word(name)}" for name in proposed if name)
    return Step("onnx → qdq", output_db, limit_db, bad, noise[bad], node, exclude)


def _values(model: ir.Model, names: Sequence[str], batches: Sequence[Batch], *, optimize: bool) -> list[Values]:
    session = open_exposed(model, threads=1, optimize=optimize)
    return [run(session, names, batch, sample=number) for number, batch in enumerate(batches)]


def _compare(expected: Sequence[Values], got: Sequence[Values]) -> dict[str, float]:
    """Return the SQNR in dB by tensor, of floating-point tensors whose shapes agree."""
    found = {}
    for name in expected[0]:
        pairs = [(np.asarray(a[name]), np.asarray(b[name])) for a, b in zip(expected, got, strict=True) if name in b]
        if not pairs or any(a.shape != b.shape or not np.issubdtype(a.dtype, np.floating) for a, b in pairs):
            continue
        noise = Noise()
        for exact, rounded in pairs:
            noise.add(exact, rounded)
        found[name] = noise.db
    return found


def _worst_parts(expected: Sequence[Values], got: Sequence[Values], outputs: Sequence[str]) -> dict[str, float]:
    """Return the SQNR in dB of the worst part of each output."""
    noise = PartsNoise(parts_of(outputs, expected))
    for exact, rounded in zip(expected, got, strict=True):
        noise.add(exact, rounded)
    found: dict[str, float] = {}
    for part, db in noise.db.items():
        found[part.output] = min(db, found.get(part.output, db))
    return found


def _reader(dequantized: ir.Value) -> str | None:
    """Return the first node that multiplies the rounded tensor, or else the first that reads it."""
    readers = sorted(dequantized.consumers(), key=lambda node: node.op_type not in WEIGHTED)
    return next((name_of(node) for node in readers), None)


def _integer_node(tensor: ir.Value) -> str | None:
    """Return the node nearest to the producer of `tensor`, or that, that reads integers, dequantized or as they are."""
    waiting = [tensor]
    seen: set[ir.Node] = set()
    while waiting:
        node = waiting.pop(0).producer()
        if node is None or node in seen:
            continue
        seen.add(node)
        reads_rounded = any(produced_by(value, "DequantizeLinear") is not None for value in node.inputs)
        if node.op_type in INTEGER_PRODUCTS | INTEGER_WEIGHTS or (node.op_type not in PAIRS and reads_rounded):
            return name_of(node)
        waiting += [value for value in node.inputs if value is not None]
    return None


def _runtimes(name: str, model: ir.Model, batches: Sequence[Batch], both: tuple[Runtime, Runtime], limit_db: float) -> Step:
    """Compare two ways to run one model; where they part, cut it at ever narrower places."""
    output_db = _worst(model, batches, both)
    if output_db >= limit_db:
        return Step(name, output_db, limit_db)
    cuts = [node.outputs[0] for node in model.graph if node.op_type not in PAIRS and is_float(node.outputs[0])]
    low, high, noise = 0, len(cuts), {}
    with progress.task(name, total=max(1, len(cuts).bit_length())) as advance:
        while low < high:
            middle = (low + high) // 2
            noise[middle] = _worst(cut(model, name_of(cuts[middle])), batches, both)
            low, high = (low, middle) if noise[middle] < limit_db else (middle + 1, high)
            advance()
    value = cuts[low] if low < len(cuts) else model.graph.outputs[0]
    bad, node = name_of(value), value.producer()
    blamed = name_of(node) if node is not None and node.op_type in WEIGHTED else _integer_node(value)
    return Step(
        name, output_db, limit_db, bad, noise.get(low, output_db), blamed, f"--exclude {shell_word(blamed)}" if blamed else ""
    )


def _worst(model: ir.Model, batches: Sequence[Batch], both: tuple[Runtime, Runtime]) -> float:
    noise = _compare(both[0](model, batches), both[1](model, batches))
    return min(noise.values(), default=CEILING_DB)


def on_cpu(*, optimize: bool = True) -> Runtime:
    """Return what runs models on this machine's CPU provider, with all of its optimisations or none."""

    def run_here(model: ir.Model, batches: Sequence[Batch]) -> list[Values]:
        names = names_of(model.graph.outputs)
        return _values(model, names, batches, optimize=optimize)

    return run_here


def on_target(target: Target) -> Runtime:
    """Return what runs models on `target`, through its runner."""

    def run_there(model: ir.Model, batches: Sequence[Batch]) -> list[Values]:
        from edgeopt.targets.outputs import fetch_outputs
        from edgeopt.targets.requests import Sent, open_variant
        from edgeopt.targets.transports import connect

        with temporary_folder() as folder, connect(target) as connection:
            path, inputs = folder / "cut.onnx", folder / "inputs.npz"
            files.save(model, path)
            write_batches(batches, inputs)
            with connection.start() as runner:
                sent = Sent(connection.send(path), connection.send(inputs), target.provider.session())
                open_variant(runner, "cut", sent)
                outputs = fetch_outputs(connection, runner, "cut")
            return [
                {key.split("/", 1)[1]: array for key, array in outputs.items() if key.startswith(f"{number}/")}
                for number in range(len(batches))
            ]

    return run_there
