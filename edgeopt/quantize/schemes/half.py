"""float16: half the size, and half the time where a provider computes in it (GPUs, NPUs; CPUs: docs/how-to/other-schemes.md).

Each node computes in float16 or stays in float32, with Casts where the two meet (`float16_casts`).

A node stays in float32 when its operator is not defined for float16, when it is named in `exclude` or its operator in
`block_ops`, and when one of its weights, inputs or outputs exceeds 65,504 on the calibration data, the largest float16:
other converters make such values infinite, or clamp them silently. Infinite values themselves, as in
attention masks, are infinite in float16, too. So do nodes to which numbers matter that float16 rounds away (`underflow`), and
those that are found when the converted model runs on the samples: none that is finite in float32 may be infinite or NaN in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt.errors import ModelError, RecipeError, nearest
from edgeopt.graph.batch_axes import batch_axes, rows
from edgeopt.graph.editing import opset_of
from edgeopt.graph.matching import array, is_captured, name_of, named_nodes
from edgeopt.graph.outputs import open_exposed, run
from edgeopt.quantize.plan.cause import Cause, Why, sentence
from edgeopt.quantize.plan.plan import Decision, NodePlan, Plan, Precision
from edgeopt.quantize.schemes.float16_casts import with_casts
from edgeopt.quantize.schemes.float16_support import float_values, refusal
from edgeopt.quantize.schemes.scheme import Converted, Request, uniform
from edgeopt.quantize.schemes.underflow import endangered, first_lost, is_small, vanishing

LARGEST = float(np.finfo(np.float16).max)


REWRITES = False


def draft(request: Request) -> Plan:
    """Return the plan, which is known when the model is converted."""
    return convert(request).plan(request)


def convert(request: Request) -> Converted:
    """Return the model in float16, but for the nodes that have a reason to stay in float32.

    Raises:
        ModelError: numbers that are finite in float32 are not in the converted model, whichever nodes are kept.
    """
    model, options = request.prepared.model, request.config.half
    _check_operators(options.block_ops, model)
    floats = float_values(model)
    seen = _look(request, model, floats)
    small = endangered(model.graph, seen.small, floats) | vanishing(model.graph, seen.largest)
    lost: dict[str, str] = {}
    while True:
        plans = tuple(_plans(request, floats, seen.largest, small | lost))
        half = {plan.name for plan in plans if plan.precision != "float"}
        kept = {name_of(value) for value in floats} if options.keep_io else _kept(model.graph, floats, seen, small)
        made = with_casts(model, half, kept=kept)
        batches = request.samples.take(request.config.noise_samples)
        culprit = first_lost(model, made, batches, threads=request.config.threads)
        if culprit is None:
            break
        lost |= _kept_before(culprit, model.graph, half)
    decisions, warnings = tuple(_decisions(plans, seen.largest)), tuple(_warnings(plans))
    return Converted(made, uniform("float16"), plans, decisions, warnings, seen.samples)


def _plans(request: Request, floats: Set[ir.Value], largest: dict[str, float], rounded: dict[str, str]) -> Iterator[NodePlan]:
    """Yield what becomes of each node that touches `floats`; those in `rounded` stay, for the tensor that is named there."""
    for node in request.prepared.model.graph:
        if any(value in floats for value in (*node.inputs, *node.outputs)):
            why = _objection(node, request, floats, largest)
            if why is None and name_of(node) in rounded:
                why = Why(Cause.UNDERFLOW, rounded[name_of(node)])
            kind: Precision = "float" if why is not None else "float16"
            yield NodePlan(name_of(node), node.op_type, kind, "float", *(why or Why(Cause.FITS)))


def _kept_before(culprit: str, graph: ir.Graph, half: Set[str]) -> dict[str, str]:
    """Return the node `culprit` and the nearest nodes before it that are in float16, each with the tensor it produces.

    Raises:
        ModelError: there are none.
    """
    start = named_nodes(graph).get(culprit)
    frontier = [start] if start is not None else []
    found = {name_of(node): name_of(node.outputs[0]) for node in frontier if node.name in half}
    seen = set(frontier)
    while frontier and len(found) <= (culprit in half):
        producers = [(value, value.producer()) for node in frontier for value in node.inputs if value is not None]
        sources = [(value, producer) for value, producer in producers if producer is not None]
        found |= {name_of(node): name_of(value) for value, node in sources if node.name in half}
        frontier = [node for node in dict.fromkeys(node for _, node in sources) if node not in seen]
        seen.update(frontier)
    if not found:
        raise ModelError(
            f"float16: '{culprit or 'an output'}' is not finite where float32's is, whichever nodes stay in float32; "
            f'exclude the nodes before it, or take scheme = "bfloat16"'
        )
    return found


def _check_operators(names: Iterable[str], model: ir.Model) -> None:
    present = {node.op_type for node in model.graph}
    for name in names:
        if name not in present:
            raise RecipeError(f"half.block_ops: the prepared model has no operator '{name}'{nearest(name, present)}")


def _objection(node: ir.Node, request: Request, floats: Set[ir.Value], largest: dict[str, float]) -> Why | None:
    """Return why a node stays in float32; None if it need not."""
    if node.name in request.excluded:
        return request.excluded[name_of(node)]
    if node.op_type in request.config.half.block_ops:
        return Why(Cause.BLOCKED, node.op_type)
    names = [name_of(value) for value in (*node.inputs, *node.outputs) if value in floats]
    over = next((name for name in names if largest.get(name, 0.0) > LARGEST), None)
    if over is not None:
        return Why(Cause.OVERFLOW, f"'{over}' reaches {largest[over]:.6g}")
    return refusal(node, floats, opset_of(request.prepared.model))


@dataclass(frozen=True)
class _Seen:
    """What constants and calibration showed: the largest finite magnitude of each tensor, those with tiny numbers, samples."""

    largest: dict[str, float]
    small: set[str]
    samples: int


def _kept(graph: ir.Graph, floats: Set[ir.Value], seen: _Seen, small: dict[str, str]) -> set[str]:
    """Return the tensors that stay float32 even as inputs or outputs: too large or small, read by subgraphs, or constants."""
    over = {name for name, value in seen.largest.items() if value > LARGEST}
    inner = {name_of(value) for value in floats if is_captured(value, graph)}
    inner |= {name_of(value) for child in graph.subgraphs() for value in child.outputs if value in floats}
    return over | inner | set(graph.initializers) | set(small.values())


def _look(request: Request, model: ir.Model, floats: Set[ir.Value]) -> _Seen:
    """Run the samples and look at every float tensor, constants among them."""
    constants = {name_of(value): stored for value in floats if (stored := array(value)) is not None}
    largest = {name: _largest(values) for name, values in constants.items()}
    small = {name for name, values in constants.items() if is_small(values)}
    tensors = sorted(name_of(value) for value in floats if name_of(value) not in largest)
    inner = sorted(name_of(value) for value in floats if value.producer() is not None)
    session = open_exposed(model, inner, threads=request.config.threads)
    count, axes = 0, batch_axes(request.prepared.signature)
    for batch in request.samples:
        values = {name: batch[name] for name in tensors if name in batch} | run(session, inner, batch, sample=count)
        for name, value in values.items():
            largest[name] = max(largest.get(name, 0.0), _largest(value))
            if name not in small and is_small(value):
                small.add(name)
        count += rows(batch, axes)
    return _Seen(largest, small, count)


def _largest(values: NDArray[Any]) -> float:
    low, high = (float(part) for part in (values.min(initial=0), values.max(initial=0)))
    if np.isfinite([low, high]).all():
        return max(-low, high)
    return float(np.abs(values[np.isfinite(values)]).max(initial=0))


def _decisions(plans: Sequence[NodePlan], extremes: dict[str, float]) -> Iterable[Decision]:
    half = sum(plan.precision != "float" for plan in plans)
    yield Decision("precision", f"{half} of {len(plans)} nodes in float16", "all the operators that are defined for it")
    for why in dict.fromkeys(plan.why for plan in plans if plan.precision == "float"):
        names = [plan.name for plan in plans if plan.why == why]
        choice = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        yield Decision("float32", choice, sentence(why))
    over = {name: value for name, value in extremes.items() if value > LARGEST}
    if over:
        named = ", ".join(f"{name} ({value:.6g})" for name, value in sorted(over.items())[:5])
        yield Decision("overflow", f"{len(over)} tensors beyond 65504 stay in float32", named)


def _warnings(plans: Sequence[NodePlan]) -> Iterable[str]:
    if all(plan.precision == "float" for plan in plans):
        yield "no node can compute in float16: the model was written as it was"
