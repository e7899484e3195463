"""Operator times by the modules of the source model.

Idea. The exporter names every node after the module it comes from (``bert.encoder.layer.0.output.dense/Gemm``), and
onnxruntime keeps the names of fused nodes ("fused …", "…_token_7"). Nodes between the modules without a name of
their own (QuantizeLinear, a smoothing Mul) belong to the module of their producer, so the graph's edges are read.
Files of other exporters work if their node names are paths, such as TorchScript's (``/encoder/layer.0/dense/MatMul``) and
TensorFlow's (``block/conv/Conv2D``).
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from edgeopt.graph.matching import name_of
from edgeopt.profile.result import ModuleTime, OperatorTime

_LONGEST_CHAIN = 64


def module_times(operators: Sequence[OperatorTime], model: ir.Model) -> list[ModuleTime]:
    """Return the time of every module of `model`, in the order of its nodes; empty where no name is a path.

    Args:
        operators: the executed operators.
        model: the file that ran; weights are not needed.
    """
    homes = _homes(model)
    if not any(homes.values()):
        return []
    own: dict[str, float] = {}
    for operator in operators:
        name = operator.name.removeprefix("fused ")
        home = homes.get(name) or _path(name)
        own[home] = own.get(home, 0.0) + operator.ms
    total_ms = sum(own.values()) or 1.0
    whole: dict[str, float] = {}
    for home in sorted(own, key=list(dict.fromkeys([*homes.values(), *own])).index):
        for module in _with_parents(home):
            whole[module] = whole.get(module, 0.0) + own[home]
    return [ModuleTime(name, ms, own.get(name, 0.0), ms / total_ms) for name, ms in whole.items()]


def _with_parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _path(name: str) -> str:
    """Return the dotted path of the module in a node's name, "" if there is none."""
    path: list[str] = []
    for part in name.strip("/").split("/")[:-1]:
        if path and part.startswith(path[-1] + "."):
            path[-1] = part  # TorchScript repeats a container: /layer/layer.0/…
        else:
            path.append(part)
    return ".".join(path)


def _homes(model: ir.Model) -> dict[str, str]:
    """Return the module of every node by the node's name."""
    return {name_of(node): _home(node) for node in model.graph}


def _home(node: ir.Node) -> str:
    for _ in range(_LONGEST_CHAIN):
        home = _path(name_of(node))
        before = next((made for value in node.inputs if value is not None and (made := value.producer()) is not None), None)
        if home or before is None:
            return home
        node = before
    return ""
