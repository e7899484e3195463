"""Names in the graph: those of the model's modules, and nothing about the machine that exported it.

torch writes stack traces with absolute paths and whole fx nodes into the metadata of every node. The useful part is
the module that a node comes from; it becomes the node's name, so that profiles and error lists point into the source model:

    Before: node_linear_3    {stack_trace: 'File "/home/…", line 436 …', name_scopes: "['', 'module', 'module.bert', …]", …}
    After:  bert.encoder.layer.0.attention.output.dense/MatMul
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Sequence

import onnx_ir as ir

_SCOPES = "pkg.torch.onnx.name_scopes"
_WRAPPER = "module."
_RECURRENT = {"LSTM", "GRU", "RNN"}
_KINDS = {1: "bias", 2: "weight_t"}
"""Name of a constant without one, by its number of axes."""


def name_ends(model: ir.Model, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Rename the graph's inputs and outputs; each output becomes a separate tensor, and nothing else has these names.

    Before: x → Relu → relu (output, twice)         After: x → Relu → a, → Identity → b
    """
    separate_outputs(model)
    ends = dict(zip((*model.graph.inputs, *model.graph.outputs), (*inputs, *outputs), strict=True))
    taken = {*inputs, *outputs}
    for value in _named_values(model):
        if value not in ends:
            value.name = _fresh(value.name or "value", taken)
            taken.add(value.name)
    for number, value in enumerate(ends):  # through unused names
        value.name = _fresh(f"end_{number}", taken)
    for value, name in ends.items():
        value.name = name


def separate_outputs(model: ir.Model) -> None:
    """Put an Identity before each output that is an input, a constant, or an output already."""
    seen: set[ir.Value] = set()
    for position, value in enumerate(list(model.graph.outputs)):
        if value in seen or value.is_graph_input() or value.is_initializer():
            copy = ir.node("Identity", [value])
            copy.outputs[0].name = f"{value.name}_copy_{position}"
            copy.outputs[0].type, copy.outputs[0].shape = value.type, value.shape
            model.graph.append(copy)
            model.graph.outputs[position] = copy.outputs[0]
        else:
            seen.add(value)


def _named_values(model: ir.Model) -> list[ir.Value]:
    found = [value for node in model.graph.all_nodes() for value in node.outputs]
    for graph in model.graphs():
        found += [*graph.inputs, *graph.initializers.values()]
    return list(dict.fromkeys(found))


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


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
    if node.op_type in {"Conv", "ConvTranspose"}:  # torch folds the norm after a convolution into it, and records the norm
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
    taken = {value.name or "" for value in _named_values(model)}
    for value in list(model.graph.initializers.values()):
        name = value.name or ""
        consumers = value.consumers()
        scope = scopes.get(consumers[0], "") if consumers else ""
        if name.startswith(_WRAPPER):
            new = name.removeprefix(_WRAPPER)
        elif scope and value.shape is not None and value.dtype is not None and value.dtype.is_floating_point() and value.shape:
            new = f"{scope}.{_kind(value)}"
        else:
            continue
        value.name = _fresh(new, taken)
        taken.add(value.name)


def _kind(value: ir.Value) -> str:
    """Return the last part of the name of a weight: ONNX's letter for weights of a recurrent layer."""
    use = next(iter(value.uses()))
    if use.node.op_type in _RECURRENT and use.idx in {1, 2, 3}:
        return "WRB"[use.idx - 1]
    return _KINDS.get(len(value.shape or ()), "weight")
