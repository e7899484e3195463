"""Nodes in topological order, which ONNX asks for and not every exporter keeps."""

from __future__ import annotations

import onnx

from edgeopt.errors import InternalError
from edgeopt.graph.index import captured


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Put the nodes into topological order, keeping their order where it is free."""
    made = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer} | {""}
    waiting = list(graph.node)
    ordered: list[onnx.NodeProto] = []
    everything = made | {name for node in waiting for name in node.output}
    while waiting:
        ready = []
        rest = []
        for node in waiting:
            if all(name in made or name not in everything for name in (*node.input, *captured(node))):
                made.update(node.output)
                ready.append(node)
            else:
                rest.append(node)
        if not ready:
            raise InternalError(f"the graph has a cycle at node '{rest[0].name}'")
        ordered += ready
        waiting = rest
    del graph.node[:]
    graph.node.extend(ordered)
