"""Placement: which provider runs which node, the partitions, and the nodes that cause them.

onnxruntime reports the provider of each node (before fusion). A partition here is a stretch of the graph's running
order that stays on one provider; every boundary costs a copy and a synchronization, so one partition is ideal. Nodes on the
CPU of a target meant for another provider are its fallback, weighted by their MACs: a Reshape that falls back costs little,
a Conv costs everything.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence

import onnx_ir as ir

from edgeopt.graph.macs import integer_products
from edgeopt.profile.result import Placement, Stretch
from edgeopt.targets.replies import Partitions

CPU = "CPUExecutionProvider"
_SHOWN = 500


def read_placement(found: Partitions, model: ir.Model, macs: Mapping[str, int]) -> Placement | None:
    """Return the placement of `model` from the runner's partitions; None: not reported by this onnxruntime.

    Args:
        found: the nodes of each provider.
        model: the model that was sent; its order of nodes is the running order.
        macs: MACs by node name (`edgeopt.graph.macs.count_macs`).
    """
    if found.partitions is None:
        return None
    told = [(_source(name), op, part.provider) for part in found.partitions for name, op in part.nodes]
    named = {name or f"unnamed {number}": (op, provider) for number, (name, op, provider) in enumerate(told)}
    known = [node.name for node in model.graph if node.name in named]
    order = known or list(named)
    owners = [named[name][1] for name in order]
    places = [place for place in range(len(order)) if place == 0 or owners[place] != owners[place - 1]]
    starts = [order[place] for place in places]
    return Placement(
        nodes=dict(sorted(Counter(provider for _, provider in named.values()).items())),
        partitions=max(1, len(starts)),
        cpu_fallback_share=_share([name for name in order if named[name][1] == CPU], order, macs),
        breaks=[f"{name} ({named[name][0]})" for name in starts if named[name][1] == CPU],
        stretches=[
            Stretch(owners[place], end - place, f"{order[place]} ({named[order[place]][0]})")
            for place, end in zip(places[:_SHOWN], [*places[1:], len(order)], strict=False)
        ],
    )


def all_on_cpu(model: ir.Model) -> Placement:
    """Return the placement on a CPU target: one partition, no fallback."""
    nodes = list(model.graph)
    first = f"{nodes[0].name} ({nodes[0].op_type})" if nodes else ""  # outputs may be constants or inputs
    whole = Stretch(CPU, len(nodes), first)
    return Placement(nodes={CPU: len(nodes)}, partitions=1, cpu_fallback_share=0.0, breaks=[], stretches=[whole])


def _source(name: str) -> str:
    """Return the name of a node in the file: layout changes append a token to it."""
    return re.sub(r"_token_[0-9]+$", "", name)


def _share(part: Sequence[str], whole: Sequence[str], macs: Mapping[str, int]) -> float:
    total = sum(macs.get(name, 0) for name in whole)
    if total:
        return sum(macs.get(name, 0) for name in part) / total
    return len(part) / len(whole) if whole else 0.0


def quantized_macs_share(model: ir.Model, macs: Mapping[str, int], *, taken: Container[str] | None = None) -> float | None:
    """Return the share of MACs in integer products and between Q/DQ pairs, which a provider can run on integers.

    `taken` has the nodes that the provider took (None: all of them); what fell back to the CPU does not count.
    """
    total = sum(macs.values())
    if not total:
        return None
    products = (name for name in integer_products(model) if taken is None or name in taken)
    return sum(macs.get(name, 0) for name in products) / total


def taken_nodes(found: Partitions) -> set[str] | None:
    """Return the nodes that did not fall back to the CPU, by name; None: that onnxruntime does not tell."""
    if found.partitions is None:
        return None
    return {_source(name) for part in found.partitions if part.provider != CPU for name, _ in part.nodes}
