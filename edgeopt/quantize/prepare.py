"""From a model as it comes to one whose tensors can be quantized: the same function, in a form the quantizer knows.

1. Refuse what must not be quantized: a model that already is, or one onnxruntime cannot load.
2. Initializers that are also listed as inputs (exporters before IR version 4) become constants.
3. Operator sets before 13 are converted to 13, where per-channel scales begin.
4. onnxruntime's basic rewrites fold constants and batch normalisation into the weights and drop identities.
5. Every node gets a name, every tensor a type where inference finds one; unused operator sets go.
6. For the CPU provider, the rewrites of this folder bring the graph into the form its integer kernels fuse best.
7. For providers that take no floats, masks are bounded, so that they fit an integer grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import version_converter

from edgeopt.errors import ModelError
from edgeopt.graph import onnx_file
from edgeopt.graph.macs import without_weights
from edgeopt.graph.order import sort_nodes
from edgeopt.lifetime import temporary_folder
from edgeopt.passes.bounded_masks import bound_masks
from edgeopt.passes.global_pooling import pool_means
from edgeopt.passes.qdq_attention import flatten_attention
from edgeopt.passes.qdq_chosen_rows import select_rows
from edgeopt.passes.qdq_gemm import flatten_biases, gemms_from_matmuls
from edgeopt.passes.qdq_rows import fold_rows
from edgeopt.passes.residual_sums import unfuse_residuals
from edgeopt.quantize.plan.plan import Decision, EqualizePlan
from edgeopt.targets.session import SessionConfig, open_model, open_session

_OLDEST_OPSET = 13
_INTEGER_OPS = {
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "ConvInteger",
    "MatMulInteger",
    "QGemm",
    "QAttention",
    "MatMulNBits",
    "DynamicQuantizeMatMul",
    "MatMulIntegerToFloat",
    "GatherBlockQuantized",
}


@dataclass(frozen=True)
class Prepared:
    """A model ready to be planned for, and what was done to it."""

    model: onnx.ModelProto
    signature: onnx_file.Signature
    decisions: tuple[Decision, ...]
    equalization: tuple[EqualizePlan, ...] = ()


def prepare(model: onnx.ModelProto, name: str, *, rewrite: bool = True, bounded: bool = False) -> Prepared:
    """Return `model` in the form described above.

    Args:
        model: floating point; it is not changed.
        name: stands in messages.
        rewrite: whether step 6 is wanted.
        bounded: whether step 7 is.

    Raises:
        ModelError: the model is quantized already, cannot be loaded, or its operator set cannot be converted.
    """
    refuse_quantized(model, name)
    copy = onnx_file.copy_of(model)
    del model  # the caller may have kept none: then its weights are free from here on
    sort_nodes(copy.graph)
    decisions = [*_drop_initializer_inputs(copy)]
    copy, upgraded = _upgrade(copy, name)
    decisions += upgraded
    copy = _fold(copy, name)
    _name_nodes(copy.graph)
    _drop_unused_opsets(copy)
    copy = infer_types(copy)
    flatten_biases(copy)
    if rewrite or bounded:
        for what, edit, reason in (*(_REWRITES if rewrite else ()), *(_BOUNDS if bounded else ())):
            changed = edit(copy)
            if changed:
                decisions.append(Decision(what, f"{changed} nodes", reason))
                copy = infer_types(copy)
        _name_nodes(copy.graph)
    return Prepared(copy, onnx_file.signature(copy), tuple(decisions))


_REWRITES: tuple[tuple[str, Callable[[onnx.ModelProto], int], str], ...] = (
    ("flat attention", flatten_attention, "Attention takes its heads side by side; no Transposes around it"),
    ("pooled means", pool_means, "GlobalAveragePool has an integer kernel, ReduceMean has none"),
    ("chosen rows", select_rows, "only one row of the result is read, so only that one need be computed"),
    ("folded rows", fold_rows, "integer Gemm kernels take two axes"),
    ("Gemm for MatMul + Add", gemms_from_matmuls, "the integer Gemm kernel adds the bias inside its 32-bit sums"),
    ("Sum for residual Add", unfuse_residuals, "onnxruntime would fuse Add into its slower SkipLayerNormalization"),
)


_BOUNDS: tuple[tuple[str, Callable[[onnx.ModelProto], int], str], ...] = (
    ("bounded masks", bound_masks, "no grid holds both scores and the lowest float; 100 below is zero after Softmax, too"),
)


def refuse_quantized(model: onnx.ModelProto, name: str) -> None:
    """Raise a `ModelError` if the model holds integer kernels or Q/DQ nodes."""
    found = [node.op_type for node in model.graph.node if node.op_type in _INTEGER_OPS or node.op_type.startswith("QLinear")]
    if found:
        raise ModelError(
            f"{name}: already quantized ({len(found)} nodes such as {found[0]}); give the floating-point model it came from"
        )


def _drop_initializer_inputs(model: onnx.ModelProto) -> list[Decision]:
    """Before: inputs x, w; initializer w.  After: input x; initializer w."""
    held = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in held]
    dropped = len(model.graph.input) - len(kept)
    if not dropped:
        return []
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.ir_version = max(model.ir_version, 4)
    return [Decision("inputs", f"{dropped} initializers are no longer inputs", "constants can be folded and quantized")]


def _upgrade(model: onnx.ModelProto, name: str) -> tuple[onnx.ModelProto, list[Decision]]:
    version = opset_of(model)
    if version >= _OLDEST_OPSET:
        return model, []
    try:
        converted = version_converter.convert_version(model, _OLDEST_OPSET)
        onnx.checker.check_model(converted)
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


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the model's default operator set."""
    return max((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=1)


def _fold(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Let onnxruntime apply its hardware-independent rewrites and read the graph back."""
    with temporary_folder() as folder:
        source, folded = Path(folder) / "model.onnx", Path(folder) / "folded.onnx"
        try:
            if onnx_file.fits_one_message(model):
                onnx_file.save(model, source)
                open_session(source, config=SessionConfig(threads=1, optimization="basic", optimized_path=folded))
            else:
                open_model(model, config=SessionConfig(threads=1, optimization="basic"))
        except ModelError as error:
            raise ModelError(str(error).replace(str(source), name)) from error
        result = onnx.ModelProto()
        if folded.is_file():
            result.ParseFromString(folded.read_bytes())
    if not result.graph.node:  # all of it folded into constants, or too large to be written in one piece
        return model
    result.ir_version = model.ir_version
    return result


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Name nodes without a name, and those that share one, after their first output."""
    seen: set[str] = set()
    for node in graph.node:
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}:{node.output[0]}"
        seen.add(node.name)


def _drop_unused_opsets(model: onnx.ModelProto) -> None:
    used = {"ai.onnx" if domain == "" else domain for domain in _domains(model.graph)} | {"ai.onnx"}
    kept = [entry for entry in model.opset_import if (entry.domain or "ai.onnx") in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _domains(graph: onnx.GraphProto) -> set[str]:
    domains = {node.domain for node in graph.node}
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                domains |= _domains(inner)
    return domains


def infer_types(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give the model the types and shapes of its inner tensors, as far as inference goes, and return it."""
    try:
        inferred = onnx.shape_inference.infer_shapes(without_weights(model), data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError):
        return model
    del model.graph.value_info[:]
    model.graph.value_info.extend(inferred.graph.value_info)
    return model
