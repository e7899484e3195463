"""float16: half the size, and half the time where a provider computes in it (GPUs, NPUs; CPUs: docs/how-to/other-schemes.md).

Each node computes in float16 or stays in float32; Casts stand where the two meet, one for each tensor and direction.

Before: x → MatMul (w) → m → Exp → e           After: x → Cast → MatMul (w, float16) → m_float16 → Cast → Exp → e
                                                                                       (Exp exceeds 65,504 on the samples)

A node stays in float32 when its operator is not defined for float16, when it is named in `exclude` or its operator in
`block_ops`, and when a weight it reads, or what it reads or gives on the calibration data, exceeds 65,504, the largest
float16: such values become infinite in other converters, or are clamped without a word. Infinite values themselves, as in
attention masks, are infinite in float16, too. So do nodes to which numbers matter that float16 rounds away (`underflow`), and
those that are found when the converted model runs on the samples: none that is finite in float32 may be infinite or NaN in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgeopt.errors import ModelError, RecipeError, nearest
from edgeopt.graph import files
from edgeopt.graph.batch_axes import batch_axes, rows
from edgeopt.graph.index import GraphIndex, captured, copy_of, remove_unused_constants
from edgeopt.graph.outputs import open_exposed, run
from edgeopt.quantize.plan.cause import Cause, Why, sentence
from edgeopt.quantize.plan.plan import Decision, NodePlan, Plan, Precision
from edgeopt.quantize.schemes.scheme import Converted, Request, uniform
from edgeopt.quantize.schemes.types import float_tensors, refusal
from edgeopt.quantize.schemes.underflow import endangered, first_lost, is_small

LARGEST = float(np.finfo(np.float16).max)
_SUFFIX = "_float16"


REWRITES = False


def draft(request: Request) -> Plan:
    """Return the plan, which is known when the model is converted."""
    return convert(request).plan(request)


def convert(request: Request) -> Converted:
    """Return the model in float16, but for the nodes that have a reason to stay in float32.

    Raises:
        ModelError: numbers that are finite in float32 are not in the converted model, whichever nodes are kept.
    """
    model, options = ir.to_proto(request.prepared.model), request.config.half
    floats = float_tensors(model)
    index = GraphIndex(model.graph)
    _check_operators(options.block_ops, model)
    seen = _look(request, model, floats, index)
    small = endangered(index, model.graph, seen.small, floats)
    lost: dict[str, str] = {}
    while True:
        plans = tuple(_plans(request, model, floats, seen.largest, small | lost))
        half = {plan.name for plan in plans if plan.precision != "float"}
        kept = floats if options.keep_io else _kept(seen, index, small)
        made = _cast(model, half, floats, kept=kept)
        batches = request.samples.take(request.config.noise_samples)
        culprit = first_lost(model, made, batches, threads=request.config.threads)
        if culprit is None:
            break
        _keep_before(culprit, index, half, lost)
    decisions, warnings = tuple(_decisions(plans, seen.largest)), tuple(_warnings(plans))
    return Converted(files.from_proto(made), uniform("float16"), plans, decisions, warnings, seen.samples)


def _plans(
    request: Request, model: onnx.ModelProto, floats: set[str], largest: dict[str, float], rounded: dict[str, str]
) -> Iterator[NodePlan]:
    """Yield what becomes of each node that touches `floats`; those in `rounded` stay, for the tensor that is named there."""
    for node in model.graph.node:
        if floats.intersection((*node.input, *node.output)):
            why = _objection(node, request, model, floats, largest)
            if why is None and node.name in rounded:
                why = Why(Cause.UNDERFLOW, rounded[node.name])
            kind: Precision = "float" if why is not None else "float16"
            yield NodePlan(node.name, node.op_type, kind, "float", *(why or Why(Cause.FITS)))


def _keep_before(culprit: str, index: GraphIndex, half: set[str], lost: dict[str, str]) -> None:
    """Add to `lost` the node `culprit` and the nearest nodes before it that are in float16.

    Raises:
        ModelError: there are none.
    """
    producers = {id(node): node for node in index.producer.values()}.values()
    frontier = [node for node in producers if node.name == culprit]
    new = {node.name: node.output[0] for node in frontier if node.name in half}
    seen = set(new)
    while frontier and len(new) <= (culprit in half):
        sources = [name for node in frontier for name in node.input if name in index.producer]
        new |= {index.producer[name].name: name for name in sources if index.producer[name].name in half}
        frontier = [index.producer[name] for name in sources if index.producer[name].name not in seen]
        seen |= {node.name for node in frontier}
    if not new:
        raise ModelError(
            f"float16: '{culprit or 'an output'}' is not finite where float32's is, whichever nodes stay in float32; "
            f'exclude the nodes before it, or take scheme = "bfloat16"'
        )
    lost |= new


def _check_operators(names: Iterable[str], model: onnx.ModelProto) -> None:
    present = {node.op_type for node in model.graph.node}
    for name in names:
        if name not in present:
            raise RecipeError(f"half.block_ops: the prepared model has no operator '{name}'{nearest(name, present)}")


def _objection(
    node: onnx.NodeProto, request: Request, model: onnx.ModelProto, floats: set[str], extremes: dict[str, float]
) -> Why | None:
    """Return why a node stays in float32; None if it need not."""
    if node.name in request.excluded:
        return request.excluded[node.name]
    if node.op_type in request.config.half.block_ops:
        return Why(Cause.BLOCKED, node.op_type)
    names = [name for name in (*node.input, *node.output) if name in floats]
    over = next((name for name in names if extremes.get(name, 0.0) > LARGEST), None)
    if over is not None:
        return Why(Cause.OVERFLOW, f"'{over}' reaches {extremes[over]:.6g}")
    return refusal(node, floats, model, TensorProto.FLOAT16)


@dataclass(frozen=True)
class _Seen:
    """What constants and calibration showed: the largest finite magnitude of each tensor, those with tiny numbers, samples."""

    largest: dict[str, float]
    small: set[str]
    samples: int


def _kept(seen: _Seen, index: GraphIndex, rounded: dict[str, str]) -> set[str]:
    """Return the tensors that stay float32 even as inputs or outputs: too large or small, read by subgraphs, or constants."""
    over = {name for name, value in seen.largest.items() if value > LARGEST}
    return over | index.captured | set(index.initializers) | set(rounded.values())


def _look(request: Request, model: onnx.ModelProto, floats: set[str], index: GraphIndex) -> _Seen:
    """Run the samples and look at every float tensor, constants among them."""
    constants = {name: numpy_helper.to_array(tensor) for name, tensor in index.initializers.items() if name in floats}
    largest = {name: _largest(values) for name, values in constants.items()}
    small = {name for name, values in constants.items() if is_small(values)}
    tensors = [name for name in sorted(floats) if name not in largest]
    inner = [name for name in tensors if name in index.producer]
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


def _cast(model: onnx.ModelProto, half: set[str], floats: set[str], *, kept: set[str]) -> onnx.ModelProto:
    """Let the nodes named in `half` read and give float16 tensors; inputs and outputs named in `kept` keep their type."""
    copy = copy_of(model)
    casts = _Casts(copy, floats, kept=kept)
    nodes = list(copy.graph.node)
    del copy.graph.node[:]
    casts.enter()
    for node in nodes:
        casts.place(node, half=node.name in half)
    casts.leave()
    copy.graph.node.extend(casts.nodes)
    casts.describe()
    remove_unused_constants(copy.graph)
    return copy


class _Casts:
    """Goes through the nodes in order and knows which tensors exist in float16, which in float32."""

    def __init__(self, model: onnx.ModelProto, floats: set[str], *, kept: set[str]) -> None:
        self.graph, self.floats, self.kept = model.graph, floats, kept
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        self.nodes: list[onnx.NodeProto] = []
        self.wide: dict[str, str] = {}  # float32 forms by the tensor's name
        self.narrow: dict[str, str] = {}  # float16 forms

    def enter(self) -> None:
        """Note the inputs, and give them float16 if callers are to pass that."""
        for value in self.graph.input:
            if value.name in self.floats - self.kept:
                value.type.tensor_type.elem_type = TensorProto.FLOAT16
                self.narrow[value.name] = value.name
            elif value.name in self.floats:
                self.wide[value.name] = value.name
        for name in self.constants:
            if name in self.floats:
                self.wide[name] = name

    def place(self, node: onnx.NodeProto, *, half: bool) -> None:
        """Append a node, with what it needs before it."""
        for position, name in enumerate(node.input):
            if name in self.floats:
                node.input[position] = self.narrowed(name) if half else self.widened(name)
        for name in captured(node) & self.floats & (self.wide.keys() | self.narrow.keys()):
            self.widened(name)
        for position, name in enumerate(node.output):
            if name in self.floats:
                (self.narrow if half else self.wide)[name] = node.output[position] = name + _SUFFIX if half else name
        if half and node.op_type == "Cast":
            for item in node.attribute:
                if item.name == "to" and item.i == TensorProto.FLOAT:
                    item.i = TensorProto.FLOAT16
        self.nodes.append(node)

    def narrowed(self, name: str) -> str:
        """Return the tensor's float16 form, made here if need be."""
        if name not in self.narrow:
            self.narrow[name] = name + _SUFFIX
            if name in self.constants:
                with np.errstate(over="ignore"):
                    values = numpy_helper.to_array(self.constants[name]).astype(np.float16)
                self.graph.initializer.append(numpy_helper.from_array(values, self.narrow[name]))
            else:
                self._append(self.wide[name], self.narrow[name], TensorProto.FLOAT16)
        return self.narrow[name]

    def widened(self, name: str) -> str:
        """Return the tensor's float32 form; it has the tensor's own name, as subgraphs know it, but for a float16 input."""
        if name not in self.wide:
            self.wide[name] = name if self.narrow[name] != name else f"{name}_float32"
            self._append(self.narrow[name], self.wide[name], TensorProto.FLOAT)
        return self.wide[name]

    def leave(self) -> None:
        """Give the outputs their type: as it was, or float16."""
        for value in self.graph.output:
            name = value.name
            if name not in self.floats:
                continue
            if name in self.kept:
                self.widened(name)
                continue
            if name in self.wide:  # other nodes read it as float32; the output is a Cast of it under a new name
                self.nodes = [_renamed(node, name, f"{name}_float32") for node in self.nodes]
                self._append(f"{name}_float32", name, TensorProto.FLOAT16)
            else:
                self.nodes = [_renamed(node, self.narrow[name], name) for node in self.nodes]
            value.type.tensor_type.elem_type = TensorProto.FLOAT16

    def describe(self) -> None:
        """Keep the known shapes of inner tensors, with their new types: not every graph can be inferred again."""
        known = list(self.graph.value_info)
        made = {name for node in self.nodes for name in node.output} - {value.name for value in self.graph.output}
        del self.graph.value_info[:]
        for value in known:
            for name, kind in (
                (self.narrow.get(value.name), TensorProto.FLOAT16),
                (self.wide.get(value.name), TensorProto.FLOAT),
            ):
                if name is not None and name in made:
                    self.graph.value_info.append(_retyped(value, name, kind))
            if value.name not in self.floats:
                self.graph.value_info.append(value)

    def _append(self, source: str, result: str, to: int) -> None:
        self.nodes.append(helper.make_node("Cast", [source], [result], f"Cast:{result}", to=to))


def _retyped(value: onnx.ValueInfoProto, name: str, kind: int) -> onnx.ValueInfoProto:
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(value)
    copy.name = name
    copy.type.tensor_type.elem_type = kind
    return copy


def _renamed(node: onnx.NodeProto, old: str, new: str) -> onnx.NodeProto:
    for names in (node.input, node.output):
        for position, name in enumerate(names):
            if name == old:
                names[position] = new
    return node


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
