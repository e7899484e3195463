"""From a model as it comes to one whose tensors can be quantized: the same function, in a form the quantizer knows.

1. Refuse what must not be quantized: a model that already is, or one onnxruntime cannot load.
2. Local functions are inlined; initializers that are also listed as inputs (exporters before IR version 4) become constants.
3. Operator sets before 13 are converted to 13, where per-channel scales begin.
4. onnxruntime's basic rewrites fold constants and batch normalisation into the weights and drop identities.
5. Every node gets a name, every tensor a type where inference finds one; unused operator sets go.
6. For the CPU provider, the rewrites of this folder bring the graph into the form its integer kernels fuse best.
7. For providers that take no floats, masks are bounded, so that they fit an integer grid.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Container
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from edgeopt.batches import Batch
from edgeopt.errors import InternalError, ModelError
from edgeopt.graph import files
from edgeopt.graph.editing import copied, opset_of, sort_nodes
from edgeopt.graph.integer_operators import INTEGER_OPERATORS
from edgeopt.graph.matching import array, names_of
from edgeopt.graph.opsets import inline_functions, upgrade
from edgeopt.graph.outputs import same_outputs
from edgeopt.graph.session import SessionConfig, open_model, open_session
from edgeopt.graph.shapes import infer_types
from edgeopt.graph.signature import Signature
from edgeopt.lifetime import temporary_folder
from edgeopt.passes.bias_vectors import BiasVectors
from edgeopt.passes.pipelines import QUANTIZE_FOR_CPU, QUANTIZE_FOR_NPU, Change, run
from edgeopt.quantize.compared_outputs import expose_compared
from edgeopt.quantize.plan.plan import Decision, EqualizePlan
from edgeopt.targets.target import Target

_OLDEST_OPSET = 13
_WORTH_FREEING = 32 << 20
"""Bytes of weights."""


@dataclass(frozen=True)
class Prepared:
    """A model ready to be planned for, and what was done to it."""

    model: ir.Model
    signature: Signature
    decisions: tuple[Decision, ...]
    equalization: tuple[EqualizePlan, ...] = ()
    exposed: tuple[str, ...] = ()
    """Tensors that are outputs while the model is quantized: they are compared instead of outputs that cannot be."""


def prepare(model: ir.Model, name: str, *, rewrite: bool = True, bounded: bool = False) -> Prepared:
    """Return `model` in the form described above.

    Args:
        model: floating point; but for the order of its nodes it is not changed, and its weights are shared.
        name: stands in messages.
        rewrite: whether step 6 is wanted.
        bounded: whether step 7 is.

    Raises:
        ModelError: the model is quantized already, cannot be loaded, its operator set cannot be converted, it makes maps,
            or a weight holds NaN.
    """
    refuse_quantized(model, name)
    sort_nodes(model)  # onnx_ir copies only graphs whose nodes are in order
    copy = copied(model)
    del model  # the caller may have kept none: then its weights are free once they are folded
    _refuse_maps(copy, name)
    _refuse_nan(copy, name)
    decisions = [*_inline(copy), *_drop_initializer_inputs(copy)]
    copy, upgraded = _upgrade(copy, name)
    decisions += upgraded
    copy = _fold(copy, name)
    _name_nodes(copy.graph)
    common.RemoveUnusedOpsetsPass(process_functions=False)(copy)
    infer_types(copy)
    BiasVectors()(copy)
    steps = (*(QUANTIZE_FOR_CPU if rewrite else ()), *(QUANTIZE_FOR_NPU if bounded else ()))
    decisions += map(_decision, run(copy, steps, changed=infer_types))
    _name_nodes(copy.graph)
    return Prepared(copy, files.signature(copy), tuple(decisions))


def prepare_for(path: Path, target: Target, *, rewrite: bool) -> Prepared:
    """Return the model at `path` ready for a scheme; with `rewrite` in the form that the target's integer kernels take best."""
    bounded = rewrite and target.quantization.rules.placement == "everywhere"
    rewrite = rewrite and target.provider.name == "CPUExecutionProvider"
    prepared = prepare(files.load(path), str(path), rewrite=rewrite, bounded=bounded)
    _free_graphs(prepared)
    return prepared


def _free_graphs(prepared: Prepared) -> None:
    """Free graphs that are no longer used: they refer to themselves, and the original weights would stay in memory.

    For a small model it is not worth it: a collection takes half a second or more where transformers is imported.
    """
    if files.weights_bytes(prepared.model) >= _WORTH_FREEING:
        gc.collect()


def checked_on(prepared: Prepared, path: Path, first: Batch) -> Prepared:
    """Return `prepared` if it computes the same as the model at `path` on a batch; else the model without the rewrites.

    Raises:
        InternalError: the model without the rewrites computes something else, too.
    """
    same = same_outputs(path, prepared.model, first)
    _free_graphs(prepared)
    if same:
        return prepared
    plain = prepare(files.load(path), str(path), rewrite=False)
    if not same_outputs(path, plain.model, first):
        raise InternalError(f"{path}: preparing the model changes what it computes; please report it with the model")
    doubt = Decision("rewrites", "none", "they changed what the model computes on the first sample; please report it")
    return replace(plain, decisions=(*plain.decisions, doubt))


def comparable(prepared: Prepared) -> Prepared:
    """Append to the model's outputs what can be compared instead of those that cannot."""
    return replace(prepared, exposed=expose_compared(prepared.model))


def _decision(change: Change) -> Decision:
    return Decision(change.step.title, f"{change.count} nodes", change.step.reason)


def refuse_quantized(model: ir.Model, name: str) -> None:
    """Raise a `ModelError` if the model holds integer kernels or Q/DQ nodes."""
    found = [node.op_type for node in model.graph if node.op_type in INTEGER_OPERATORS]
    if found:
        raise ModelError(
            f"{name}: already quantized ({len(found)} nodes such as {found[0]}); give the floating-point model it came from"
        )


def _drop_initializer_inputs(model: ir.Model) -> list[Decision]:
    """Before: inputs x, w; initializer w.  After: input x; initializer w."""
    count = len(model.graph.inputs)
    common.RemoveInitializersFromInputsPass()(model)
    dropped = count - len(model.graph.inputs)
    if not dropped:
        return []
    model.ir_version = max(model.ir_version, 4)
    return [Decision("inputs", f"{dropped} initializers are no longer inputs", "constants can be folded and quantized")]


def _inline(model: ir.Model) -> list[Decision]:
    """Before: my.Act(x), function my.Act(x) = Relu(x).  After: Relu(x)."""
    count = inline_functions(model)
    return [Decision("functions", f"{count} inlined", "the nodes inside can be quantized")] if count else []


def _refuse_maps(model: ir.Model, name: str) -> None:
    maps = [node for node in model.graph if node.op_type == "ZipMap" and node.domain == "ai.onnx.ml"]
    if maps:
        read = maps[0].inputs[0]
        raise ModelError(
            f"{name}: '{maps[0].outputs[0].name}' is a map (ZipMap), which cannot be quantized; remove that node, so that its "
            f"input '{read.name if read is not None else ''}' is the output (skl2onnx: options={{'zipmap': False}})"
        )


def _refuse_nan(model: ir.Model, name: str) -> None:
    for value in model.graph.initializers.values():
        values = array(value)
        if values is None or values.dtype not in {np.dtype(np.float32), np.dtype(np.float16)} or not values.size:
            continue
        if np.isnan(values.min()):  # (NaN is the minimum of whatever holds one)
            count = f"{int(np.isnan(values).sum()):,} of {values.size:,} numbers"
            raise ModelError(
                f"{name}: the weight '{value.name}' holds NaN ({count}), so that what is computed from it is NaN; "
                f"train or export the model again"
            )


def _upgrade(model: ir.Model, name: str) -> tuple[ir.Model, list[Decision]]:
    version = opset_of(model)
    if version >= _OLDEST_OPSET:
        return model, []
    try:
        converted = upgrade(model, _OLDEST_OPSET)
    except Exception as error:  # (the converter raises RuntimeError, IndexError, ConvertError …)
        raise ModelError(
            f"{name}: operator set {version} cannot be converted to {_OLDEST_OPSET}, which per-channel scales need "
            f"({_first_line(error)}); export the model again with a newer operator set"
        ) from error
    return converted, [
        Decision("opset", f"{version} → {_OLDEST_OPSET}", "per-channel DequantizeLinear exists from operator set 13 on")
    ]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _fold(model: ir.Model, name: str) -> ir.Model:
    """Let onnxruntime apply its hardware-independent rewrites and read the graph back."""
    with temporary_folder() as folder:
        source, folded = Path(folder) / "model.onnx", Path(folder) / "folded.onnx"
        try:
            if files.fits_one_message(model):
                files.save(model, source)
                open_session(source, config=SessionConfig(threads=1, optimization="basic", optimized_path=folded))
            else:
                open_model(model, config=SessionConfig(threads=1, optimization="basic"))
        except ModelError as error:
            raise ModelError(str(error).replace(str(source), name)) from error
        result = files.load_optimized(folded) if folded.is_file() else None
    if result is None:  # all of it folded into constants, or too large to be written in one piece
        return model
    result.ir_version = model.ir_version
    return result


def _name_nodes(graph: ir.Graph) -> None:
    """Name nodes without a name, and those that share one, after the first output that they have."""
    taken, seen = {node.name for node in graph}, set[str]()
    for node in graph:
        if not node.name or node.name in seen:
            node.name = _fresh(f"{node.op_type}:{next(filter(None, names_of(node.outputs)), '')}", taken)
            taken.add(node.name)
        seen.add(node.name)


def _fresh(name: str, taken: Container[str | None]) -> str:
    """Return `name`, with a number behind it where it is taken."""
    if name not in taken:
        return name
    return next(made for number in itertools.count(1) if (made := f"{name}_{number}") not in taken)
