"""What onnxruntime makes of a quantized model: the optimised graph is written out and read back.

A pair of Q/DQ nodes is only a promise. Whether a node runs on integers shows in the graph after fusion: integer kernels have
their own operators there, and what is left between DequantizeLinear and QuantizeLinear is an island of floating point.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

import onnx
import onnxruntime as ort

from edgeopt.graph import onnx_file
from edgeopt.graph.index import GraphIndex
from edgeopt.graph.integer_operators import INTEGER_PRODUCTS, INTEGER_WEIGHTS, PAIRS
from edgeopt.graph.macs import integer_products
from edgeopt.graph.session import SessionConfig, open_session
from edgeopt.lifetime import temporary_folder
from edgeopt.quantize.plan.plan import Plan
from edgeopt.quantize.result import Coverage, Island
from edgeopt.targets.target import Target

_FUSED = re.compile(r"_token_\d+$")  # onnxruntime appends this to the name of a node that it moved to another layout


def inspect(model: onnx.ModelProto, macs: Mapping[str, int], plan: Plan, target: Target) -> Coverage:
    """Return the coverage of a quantized model as the target's provider would run it.

    Args:
        model: the quantized model.
        macs: multiply-accumulates by node name of the floating-point model.
        plan: what was meant to run on integers.
        target: where it runs; its kernels decide what is fused.
    """
    here = target.provider.plugin is None and target.provider.name in ort.get_available_providers()
    if not here:
        return _promised(model, macs, plan, target)
    with temporary_folder() as folder:
        path, optimized = Path(folder) / "quantized.onnx", Path(folder) / "optimized.onnx"
        onnx_file.save(model, path)
        _optimize(path, optimized, target)
        graph = onnx.load(optimized, load_external_data=False).graph
    integer = {_FUSED.sub("", node.name) for node in graph.node if node.op_type in INTEGER_PRODUCTS | INTEGER_WEIGHTS}
    share = _share(macs, integer)
    return Coverage(share, (*_missed(macs, integer, plan), *_enclosed(graph)))


def _share(macs: Mapping[str, int], names: set[str]) -> float | None:
    total = sum(macs.values())
    return sum(count for name, count in macs.items() if name in names) / total if total else None


def _promised(model: onnx.ModelProto, macs: Mapping[str, int], plan: Plan, target: Target) -> Coverage:
    """Return what a provider can run on integers if it takes every pair: nodes whose two factors are dequantized."""
    integer = integer_products(model)
    islands = (*_missed(macs, integer, plan), *_enclosed(model.graph, {node.name for node in plan.integer_nodes}))
    seen = f"the file's Q/DQ pairs: {target.provider.name} is not in this onnxruntime, so what it fuses is not known"
    return Coverage(_share(macs, integer), islands, seen)


def _optimize(path: Path, optimized: Path, target: Target) -> None:
    """Write the graph as onnxruntime would run it on the target.

    On x86-64 onnxruntime leaves signed activations unfused, on Arm it does not; the session option that says so lets one
    machine show the other's graph.
    """
    arm = any(machine in {"aarch64", "arm64"} for machine in target.device.machine)
    config = SessionConfig(optimized_path=optimized, entries={"session.qdqisint8allowed": "1" if arm else "0"})
    open_session(path, target.provider, config=config)


def _missed(macs: Mapping[str, int], integer: set[str], plan: Plan) -> Iterator[Island]:
    """Yield the nodes with work to do that do not run on integers."""
    plans = {node.name: node for node in plan.nodes}
    for name in macs:
        node = plans.get(name)
        if name in integer or node is None:
            continue
        reason = node.reason if node.precision == "float" else "onnxruntime did not fuse its Q/DQ pairs into an integer kernel"
        yield Island(name, node.op, reason)


def _enclosed(graph: onnx.GraphProto, meant: AbstractSet[str] = frozenset()) -> Iterator[Island]:
    """Yield the floating-point nodes that read only dequantized tensors and are read only by quantizers."""
    index = GraphIndex(graph)
    for node in graph.node:
        if node.op_type in PAIRS or node.name in meant:
            continue
        makers = [index.producer.get(name) for name in node.input if name and name not in index.initializers]
        readers = [reader for name in node.output for reader in index.consumers[name]]
        inside = makers and all(maker is not None and maker.op_type == "DequantizeLinear" for maker in makers)
        if inside and readers and all(reader.op_type == "QuantizeLinear" for reader in readers):
            yield Island(node.name, node.op_type, f"{node.op_type} ran in floating point between integer nodes")
