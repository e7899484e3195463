"""How onnxruntime runs a quantized model: it is run once, and the kernels that ran and the optimised graph are read back.

A pair of Q/DQ nodes is only a promise. Whether a node runs on integers shows in the graph after fusion: integer kernels have
operators of domain com.microsoft there, and nodes left between DequantizeLinear and QuantizeLinear are an island of floats.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import onnx_ir as ir
import onnxruntime as ort

from edgeopt.batches import Batch
from edgeopt.graph import files
from edgeopt.graph.executed import Executed
from edgeopt.graph.integer_operators import INTEGER_PRODUCTS, INTEGER_WEIGHTS, PAIRS
from edgeopt.graph.macs import integer_products
from edgeopt.graph.matching import name_of, names_of, own_consumers, produced_by
from edgeopt.graph.operator_cost import accuracy_levels, cost, source_name
from edgeopt.graph.session import SessionConfig, open_session
from edgeopt.graph.signature import Signature
from edgeopt.lifetime import temporary_folder
from edgeopt.quantize.plan.plan import Plan
from edgeopt.quantize.result import Coverage, Island
from edgeopt.targets.target import Target

_KERNEL = "_kernel_time"
_DYNAMIC = "_quant"  # what `schemes/integer_products.py` appends to a product that it makes dynamic
_SEEN = 0.5
"""Share of the model's MACs that a profile must account for to be believed."""


def inspect(model: ir.Model, macs: Mapping[str, int], plan: Plan, target: Target, sample: Batch) -> Coverage:
    """Return the coverage of a quantized model as the target's provider runs it.

    Args:
        model: the quantized model.
        macs: multiply-accumulates by node name of the floating-point model.
        plan: what was meant to run on integers.
        target: where it runs; its kernels decide what is fused.
        sample: what the model is run on, once, to see which kernels run.
    """
    here = target.provider.plugin is None and target.provider.name in ort.get_available_providers()
    if not here:
        return _promised(model, macs, plan, target)
    with temporary_folder() as folder:
        path, optimized = folder / "quantized.onnx", folder / "optimized.onnx"
        files.save(model, path)
        ran = _run(path, optimized, target, _as_taken(sample, files.signature(model)))
        graph = files.load_structure(optimized).graph
    levels = accuracy_levels(model)
    makers = {name: name_of(node) for node in model.graph for name in names_of(node.outputs)}
    kernels = [(_source(node.name, macs, makers), cost(node, macs, levels)) for node in ran]
    kinds = {name: one.kind for name, one in kernels if one.macs}
    counts = {name: macs.get(name, one.macs) for name, one in kernels if one.macs}  # kernels pad channels; the model has fewer
    total = sum(counts.values())
    integer = sum(count for name, count in counts.items() if kinds[name] == "int8")
    if total < _SEEN * sum(macs.values()):
        return _promised(model, macs, plan, target)  # compiled: the profile shows the whole, not its parts
    missed = _missed(macs, {name for name, kind in kinds.items() if kind != "int8"}, plan)
    return Coverage(integer / total if total else None, (*missed, *_enclosed(graph)))


def _promised(model: ir.Model, macs: Mapping[str, int], plan: Plan, target: Target) -> Coverage:
    """Return what a provider can run on integers if it takes every Q/DQ pair, or without any every integer operator."""
    operators = {node.op_type for node in model.graph}
    pairs, own = "QuantizeLinear" in operators, sorted(operators & (INTEGER_PRODUCTS | INTEGER_WEIGHTS))
    names = integer_products(model) if pairs else _integer_operators(model, macs)
    total = sum(macs.values())
    promised = sum(count for name, count in macs.items() if name in names) / total if total else None
    islands = (*_missed(macs, set(macs) - names, plan), *_enclosed(model.graph, {node.name for node in plan.integer_nodes}))
    provider = target.provider
    if provider.computes_in_float and pairs:
        return Coverage(0.0 if total else None, islands, f"{provider.name} computes Q/DQ pairs in floating point", promised)
    if not pairs and not own:
        return Coverage(0.0 if total else None, islands, "the file, which has no integer operators")
    known = "Q/DQ pairs" if pairs else "/".join(own)
    seen = f"{provider.name} is not in this onnxruntime: the file's {known} are known, not what it makes of them"
    return Coverage(None, islands, seen, promised, "Q/DQ pairs" if pairs else "integer operators")


def _integer_operators(model: ir.Model, macs: Mapping[str, int]) -> set[str]:
    """Return the nodes of the floating-point model that are operators with integer weights in `model`."""
    makers = {name: name_of(node) for node in model.graph for name in names_of(node.outputs)}
    nodes = [node for node in model.graph if node.op_type in INTEGER_PRODUCTS | INTEGER_WEIGHTS]
    return {_source(name_of(node), macs, makers) for node in nodes}


def _run(path: Path, optimized: Path, target: Target, sample: Batch) -> list[Executed]:
    """Run the graph once as onnxruntime runs it on the target, write it to `optimized`, and return the kernels that ran.

    On x86-64 onnxruntime leaves signed activations unfused, on Arm it does not; the session option that says so lets one
    machine show the other's graph.
    """
    arm = any(machine in {"aarch64", "arm64"} for machine in target.device.machine)
    entries = {"session.qdqisint8allowed": "1" if arm else "0"}
    config = SessionConfig(optimized_path=optimized, profile_prefix=path.with_name("profile"), entries=entries)
    session = open_session(path, target.provider, config=config)
    session.run(None, dict(sample))
    trace = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return [_kernel(event) for event in trace if str(event.get("name", "")).endswith(_KERNEL)]


def _as_taken(sample: Batch, signature: Signature) -> Batch:
    """Return the sample in the types that a model takes: a scheme may have changed them."""
    types = {spec.name: spec.dtype for spec in signature.inputs}
    return {name: array.astype(types[name]) for name, array in sample.items() if name in types}


def _kernel(event: Mapping[str, Any]) -> Executed:
    facts = event["args"]

    def tensors(end: str) -> list[tuple[str, list[int]]]:
        return [pair for entry in facts.get(f"{end}_type_shape", []) for pair in entry.items()]

    return Executed(event["name"].removesuffix(_KERNEL), facts["op_name"], tensors("input"), tensors("output"), bytes=0)


def _source(name: str, macs: Mapping[str, int], makers: Mapping[str, str]) -> str:
    """Return the name that a kernel's node had in the floating-point model; some are called by what they make."""
    name = source_name(name)
    known = (name, name.removesuffix(_DYNAMIC), makers.get(name, ""))
    return next((one for one in known if one in macs), name)


def _missed(macs: Mapping[str, int], floating: AbstractSet[str], plan: Plan) -> Iterator[Island]:
    """Yield the nodes with work to do that run in floating point."""
    plans = {node.name: node for node in plan.nodes}
    for name in macs:
        node = plans.get(name)
        if node is None or (name not in floating and node.precision != "float"):
            continue
        reason = node.reason if node.precision == "float" else "onnxruntime did not fuse its Q/DQ pairs into an integer kernel"
        yield Island(name, node.op, reason)


def _enclosed(graph: ir.Graph, meant: AbstractSet[str] = frozenset()) -> Iterator[Island]:
    """Yield the floating-point nodes that read only dequantized tensors and are read only by quantizers."""
    for node in graph:
        if node.op_type in PAIRS or node.name in meant:
            continue
        read = [value for value in node.inputs if value is not None and not value.is_initializer()]
        readers = [reader for value in node.outputs for reader in own_consumers(value, graph)]
        inside = read and all(produced_by(value, "DequantizeLinear") is not None for value in read)
        if inside and readers and all(reader.op_type == "QuantizeLinear" for reader in readers):
            yield Island(name_of(node), node.op_type, f"{node.op_type} ran in floating point between integer nodes")
