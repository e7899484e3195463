"""bfloat16: weights stored in 16 bits with float32's range, computed in float32.

Before: x → MatMul (w, float32)          After: x → MatMul ← Cast (to float32) ← w, bfloat16

onnxruntime 1.32's CPU provider has no bfloat16 kernels for MatMul, Gemm or Conv, and refuses a graph that asks for them; so the
file halves, the Casts are folded when it is loaded, and speed and memory are those of float32. No range is lost (bfloat16 has
float32's exponent), only 16 of 24 bits of each weight: the relative error is at most 2⁻⁸. The largest float32 numbers would
become infinite; constants that hold one stay as they are.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir

from edgeopt.graph.editing import add_initializer, copied, forget_names, fresh_name, remove_unused
from edgeopt.graph.matching import array, constant, is_captured, name_of, own_consumers
from edgeopt.quantize.plan.cause import Cause, Why
from edgeopt.quantize.plan.plan import Decision, NodePlan, Plan, Precision
from edgeopt.quantize.schemes.scheme import Converted, Request, uniform

_SMALLEST = 1024  # elements; below it the Cast takes more room than is saved


REWRITES = False


def draft(request: Request) -> Plan:
    """Return the plan, which is known when the model is converted."""
    return convert(request).plan(request)


def convert(request: Request) -> Converted:
    """Return the model with its large float32 constants stored as bfloat16."""
    model = copied(request.prepared.model)
    graph = model.graph
    forget_names(graph)
    stored, plans = [], []
    for value in graph.initializers.values():
        if not _is_large(value) or value.is_graph_output() or is_captured(value, graph):
            continue
        readers = own_consumers(value, graph)
        kept = next((request.excluded[name_of(node)] for node in readers if node.name in request.excluded), None)
        kept = kept or (Why(Cause.ROUNDED_UP, name_of(value)) if _overflows(value) else None)
        kind: Precision = "float" if kept is not None else "bfloat16"
        why = kept or Why(Cause.STORED)
        plans += [NodePlan(name_of(node), node.op_type, kind, "float", *why) for node in readers]
        if kept is None:
            stored.append(value)
    for value in stored:
        _store(graph, value)
    remove_unused(model)
    reason = "onnxruntime's CPU provider computes in float32; the file halves, speed stays"
    return Converted(
        model,
        uniform("float32", "bfloat16"),
        tuple({plan.name: plan for plan in plans}.values()),
        (Decision("storage", f"{len(stored)} constants as bfloat16", reason),),
        () if stored else ("no constant is large enough to be stored as bfloat16: the model was written as it was",),
    )


def _is_large(value: ir.Value) -> bool:
    tensor = constant(value)
    return tensor is not None and tensor.dtype == ir.DataType.FLOAT and tensor.size >= _SMALLEST


def _overflows(value: ir.Value) -> bool:
    """Return whether a finite number of the constant, such as the lowest float32 of a mask, is infinite as bfloat16."""
    values = np.asarray(array(value))
    with np.errstate(over="ignore"):
        return bool((np.isfinite(values) & ~np.isfinite(values.astype(ml_dtypes.bfloat16))).any())


def _store(graph: ir.Graph, value: ir.Value) -> None:
    """Replace a constant by a narrow one and a Cast that takes its name."""
    narrow = add_initializer(graph, f"{value.name}_bfloat16", np.asarray(array(value)).astype(ml_dtypes.bfloat16))
    cast = ir.node("Cast", [narrow], {"to": ir.DataType.FLOAT.value})
    wide = cast.outputs[0]
    wide.type, wide.shape = ir.TensorType(ir.DataType.FLOAT), value.shape
    value.replace_all_uses_with(wide)
    name, value.name = value.name, fresh_name(graph, f"{value.name}_float32")
    wide.name, cast.name = name, f"Cast:{name}"
    graph.insert_before(graph[0], cast)
