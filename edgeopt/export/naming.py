"""Names in the graph: those of the model's own modules, and nothing of the machine that exported it.

torch writes stack traces with absolute paths and whole fx nodes into the metadata of every node. What a reader needs of that is
the module a node comes from; it becomes the node's name, so that profiles and error lists point into the source model:

    Before: node_linear_3    {stack_trace: 'File "/home/…", line 436 …', name_scopes: "['', 'module', 'module.bert', …]", …}
    After:  bert.encoder.layer.0.attention.output.dense/MatMul
"""

from __future__ import annotations

import ast
from collections import Counter

import onnx_ir as ir

_SCOPES = "pkg.torch.onnx.name_scopes"
_WRAPPER = "module."


def tidy_names(model: ir.Model) -> None:
    """Rename nodes and weights of `model` after the source's modules and drop all metadata, in place."""
    scopes = {node: _scope(node) for node in model.graph.all_nodes()}
    _name_weights(model, scopes)
    seen: Counter[str] = Counter()
    for node, scope in scopes.items():
        base = f"{scope}/{node.op_type}" if scope else node.op_type
        node.name = f"{base}_{seen[base]}" if seen[base] else base
        seen[base] += 1
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for graph in model.graphs():
        graph.metadata_props.clear()
        graph.doc_string = None
        for value in (*graph.inputs, *graph.initializers.values()):
            value.metadata_props.clear()
    model.metadata_props.clear()
    model.graph.name = "main"
    model.doc_string = None


def _scope(node: ir.Node) -> str:
    """Return the dotted path of the module that `node` comes from, "" for the model itself."""
    if node.op_type in {"Conv", "ConvTranspose"}:  # torch folds the norm after a convolution into it, and notes the norm
        weight = node.inputs[1].name if node.inputs[1] is not None else None
        if weight and weight.startswith(_WRAPPER) and weight.endswith(".weight"):
            return weight.removeprefix(_WRAPPER).removesuffix(".weight")
    try:
        scopes = ast.literal_eval(node.metadata_props.get(_SCOPES, "[]"))
    except (ValueError, SyntaxError):
        return ""
    modules = [scope for scope in scopes[:-1] if scope and not scope.startswith("_empty_nn_module_stack")]
    return modules[-1].removeprefix("module").removeprefix(".") if modules else ""


def _name_weights(model: ir.Model, scopes: dict[ir.Node, str]) -> None:
    """Drop the wrapper's prefix; a transposed weight without a name gets that of the module that uses it."""
    taken = set(model.graph.initializers) | {value.name for node in scopes for value in node.outputs}
    for value in list(model.graph.initializers.values()):
        name = value.name or ""
        consumers = value.consumers()
        scope = scopes.get(consumers[0], "") if consumers else ""
        if name.startswith(_WRAPPER):
            new = name.removeprefix(_WRAPPER)
        elif scope and value.shape is not None and value.dtype is not None and value.dtype.is_floating_point() and value.shape:
            new = f"{scope}.weight_t" if len(value.shape) == 2 else f"{scope}.bias"
        else:
            continue
        while new in taken:
            new += "_"
        taken.add(new)
        value.name = new
