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
import onnx
from onnx import TensorProto, helper

from edgeopt.graph import onnx_file
from edgeopt.graph.index import GraphIndex, captured, remove_unused_constants
from edgeopt.quantize.plan.cause import Cause, Why
from edgeopt.quantize.plan.plan import Decision, NodePlan, Precision
from edgeopt.quantize.schemes.converted import Converted, Request, uniform

_SMALLEST = 1024  # elements; below it the Cast takes more room than is saved


def convert(request: Request) -> Converted:
    """Return the model with its large float32 constants stored as bfloat16."""
    model = onnx_file.copy_of(request.prepared.model)
    graph = model.graph
    index = GraphIndex(graph)
    inner = {name for node in graph.node for name in captured(node)}
    stored, plans = [], []
    for name, tensor in index.initializers.items():
        readers = index.consumers[name]
        large = tensor.data_type == TensorProto.FLOAT and onnx.numpy_helper.to_array(tensor).size >= _SMALLEST
        if not large or name in inner | index.outputs:
            continue
        kept = next((request.excluded[node.name] for node in readers if node.name in request.excluded), None)
        kept = kept or (Why(Cause.ROUNDED_UP, name) if _overflows(tensor) else None)
        kind: Precision = "float" if kept is not None else "bfloat16"
        why = kept or Why(Cause.STORED)
        plans += [NodePlan(node.name, node.op_type, kind, "float", *why) for node in readers]
        if kept is None:
            stored.append(tensor)
    for tensor in stored:
        _store(graph, tensor)
    remove_unused_constants(graph)
    reason = "onnxruntime's CPU provider computes in float32; the file halves, speed stays"
    return Converted(
        model,
        uniform("float32", "bfloat16"),
        tuple({plan.name: plan for plan in plans}.values()),
        (Decision("storage", f"{len(stored)} constants as bfloat16", reason),),
        () if stored else ("no constant is large enough to be stored as bfloat16: the model was written as it was",),
    )


def _overflows(tensor: onnx.TensorProto) -> bool:
    """Tell whether a finite number of the constant, such as the lowest float32 of a mask, is infinite as bfloat16."""
    values = onnx.numpy_helper.to_array(tensor)
    with np.errstate(over="ignore"):
        return bool((np.isfinite(values) & ~np.isfinite(values.astype(ml_dtypes.bfloat16))).any())


def _store(graph: onnx.GraphProto, tensor: onnx.TensorProto) -> None:
    """Replace a constant by a narrow one and a Cast that keeps its name."""
    values = onnx.numpy_helper.to_array(tensor).astype(ml_dtypes.bfloat16)
    name = f"{tensor.name}_bfloat16"
    graph.initializer.remove(tensor)
    graph.initializer.append(helper.make_tensor(name, TensorProto.BFLOAT16, values.shape, values.tobytes(), raw=True))
    graph.node.insert(0, helper.make_node("Cast", [name], [tensor.name], f"Cast:{tensor.name}", to=TensorProto.FLOAT))
