"""Which provider runs what, how often the graph changes hands, and which operator is to blame.

onnxruntime tells for each node which provider took it (before fusion). A partition here is a stretch of the graph's running
order that stays on one provider; every boundary costs a copy and a synchronization, so one partition is ideal. Nodes on the
CPU of a target meant for another provider are its fallback, weighed by their MACs: a Reshape that falls back is a nuisance,
a Conv is a defeat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from edgeopt.profile.result import Placement

CPU = "CPUExecutionProvider"


def read_placement(reply: Mapping[str, Any], model: onnx.ModelProto, macs: Mapping[str, int], *, provider: str) -> Placement:
    """Return the placement that the runner's `placement` reply tells of `model`.

    Args:
        reply: ``partitions``: [{"provider", "nodes": [[name, op], …]}].
        model: the model as it was sent; its order of nodes is the running order.
        macs: MACs by node name (`edgeopt.models.onnx_macs.count_macs`).
        provider: the one the target is meant for.
    """
    told = [(name, op, part["provider"]) for part in reply["partitions"] for name, op in part["nodes"]]
    named = [(name or f"unnamed {number}", op, provider) for number, (name, op, provider) in enumerate(told)]
    owner = {name: provider for name, _, provider in named}
    ops = {name: op for name, op, _ in named}
    order = [node.name for node in model.graph.node if node.name in owner]
    order += [name for name in owner if name not in set(order)]  # nodes onnxruntime made itself
    starts = [
        name for before, name in zip([None, *order], order, strict=False) if before is None or owner[before] != owner[name]
    ]
    fallen = [name for name in order if owner[name] == CPU] if provider != CPU else []
    return Placement(
        nodes=dict(sorted(Counter(owner.values()).items())),
        partitions=max(1, len(starts)),
        cpu_fallback_share=_share(fallen, order, macs),
        breaks=[f"{name} ({ops[name]})" for name in starts if provider != CPU and owner[name] == CPU],
    )


def _share(part: Sequence[str], whole: Sequence[str], macs: Mapping[str, int]) -> float:
    total = sum(macs.get(name, 0) for name in whole)
    if total:
        return sum(macs.get(name, 0) for name in part) / total
    return len(part) / len(whole) if whole else 0.0


def quantized_macs_share(model: onnx.ModelProto, macs: Mapping[str, int]) -> float | None:
    """Return the MACs of nodes between Q/DQ pairs: what a provider that compiles the graph can run in integers."""
    dequantized = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    total = sum(macs.values())
    if not total:
        return None
    quantized = sum(
        macs.get(node.name or node.output[0], 0)
        for node in model.graph.node
        if len(node.input) > 1 and node.input[0] in dequantized and node.input[1] in dequantized
    )
    return quantized / total
