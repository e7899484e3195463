"""Saved plans of version 1: what they said in words is put into fields.

Version 1                          Version 2
node.reason = "in the stem: …"     cause = "said", detail = the sentence; of integer nodes the cause that fits the operator
tensor.method = "as x"             follows = "x", method = that of x
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_AS = "as "
_MULTIPLY = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


def upgraded(values: Any) -> Any:
    """Return the JSON values of a plan of version 1 as those of version 2; what is not of version 1 stays, to be refused."""
    if not isinstance(values, dict) or not all(isinstance(values.get(key), list) for key in ("nodes", "tensors")):
        return values
    methods = {tensor.get("name"): tensor.get("method") for tensor in values["tensors"] if isinstance(tensor, dict)}
    nodes = [_node(node) if isinstance(node, dict) else node for node in values["nodes"]]
    tensors = [_tensor(tensor, methods) if isinstance(tensor, dict) else tensor for tensor in values["tensors"]]
    return {**values, "nodes": nodes, "tensors": tensors}


def _node(node: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in node.items() if key != "reason"}
    if "reason" not in node:
        return kept
    if node.get("precision") == "int8":
        return {**kept, "cause": "weights" if node.get("op") in _MULTIPLY else "between"}
    return {**kept, "cause": "said", "detail": node["reason"]}


def _tensor(tensor: Mapping[str, Any], methods: Mapping[Any, Any]) -> dict[str, Any]:
    method, seen = tensor.get("method"), set[str]()
    if not isinstance(method, str) or not method.startswith(_AS):
        return dict(tensor)
    source = method.removeprefix(_AS)
    while isinstance(method, str) and method.startswith(_AS) and method not in seen:
        seen.add(method)
        method = methods.get(method.removeprefix(_AS))
    return {**tensor, "method": "min-max" if method is None or method in seen else method, "follows": source}
