"""Which passes run, in which order and for whom: export, and quantization for two kinds of targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes import common

from edgeopt.graph.editing import forget_names, remove_unused
from edgeopt.passes.asked_rows import AskedRows
from edgeopt.passes.attention_layout import AttentionLayout
from edgeopt.passes.attention_scale import AttentionScale
from edgeopt.passes.bounded_masks import BoundedMasks
from edgeopt.passes.chosen_rows import ChosenRows
from edgeopt.passes.computed_biases import ComputedBiases
from edgeopt.passes.conv_types import ConvTypes
from edgeopt.passes.flatten_rows import FlattenRows
from edgeopt.passes.fold_reshapes import FoldReshapes
from edgeopt.passes.fuse_cache import FuseCache, has_cache
from edgeopt.passes.fuse_interleaved_rotary import FuseInterleavedRotary
from edgeopt.passes.fuse_rms_norm import FuseRmsNorm
from edgeopt.passes.fuse_rotary import FuseRotary
from edgeopt.passes.gates_apart import GatesApart
from edgeopt.passes.gemm import Gemm
from edgeopt.passes.global_pooling import GlobalPooling
from edgeopt.passes.instance_norm import InstanceNorm
from edgeopt.passes.merge_projections import MergeProjections
from edgeopt.passes.packed_heads import PackedHeads
from edgeopt.passes.partial_rotary import PartialRotary
from edgeopt.passes.plain_products import PlainProducts
from edgeopt.passes.recurrent_weights import RecurrentWeights
from edgeopt.passes.residual_sums import ResidualSums
from edgeopt.passes.rewrite import Rewrite
from edgeopt.passes.shared_cache import SharedCache
from edgeopt.passes.skip_norms import SkipNorms
from edgeopt.passes.stated_widths import StatedWidths
from edgeopt.passes.transposed_weights import TransposedWeights

EXPORT: tuple[type[Rewrite], ...] = (
    ConvTypes,
    RecurrentWeights,
    TransposedWeights,
    PlainProducts,
    FuseRmsNorm,
    FuseRotary,
    FuseInterleavedRotary,
    PartialRotary,
    InstanceNorm,
    FuseCache,
    AttentionScale,
    PackedHeads,
    AttentionLayout,
    ChosenRows,
    GatesApart,
    MergeProjections,
    FlattenRows,
    Gemm,
    FoldReshapes,
    StatedWidths,
)
"""In this order: a row can be chosen where attention has three axes and query, key and value are products of their own;
rows are flattened when all of that is done."""


@dataclass(frozen=True)
class Step:
    """A pass of a quantization pipeline, what it is called in reports and why it runs."""

    make: Callable[[], Rewrite]
    title: str
    reason: str


@dataclass(frozen=True)
class Change:
    """What a step changed: how often it applied."""

    step: Step
    count: int


QUANTIZE_FOR_CPU: tuple[Step, ...] = (
    Step(AttentionLayout, "flat attention", "Attention takes its heads side by side; no Transposes around it"),
    Step(GlobalPooling, "pooled means", "GlobalAveragePool has an integer kernel, ReduceMean has none"),
    Step(ChosenRows, "chosen rows", "only one row of the result is read, so only that one need be computed"),
    Step(lambda: FlattenRows(most_axes=None), "folded rows", "integer Gemm kernels take two axes"),
    Step(ComputedBiases, "Add for computed biases", "integer Gemm kernels take constant biases alone"),
    Step(
        lambda: Gemm(without_bias=True),
        "Gemm for MatMul + Add",
        "the integer Gemm kernel adds the bias inside its 32-bit sums",
    ),
    Step(ResidualSums, "Sum for residual Add", "onnxruntime would fuse Add into its slower SkipLayerNormalization"),
)
"""Towards the forms that the CPU provider's integer kernels fuse best."""

QUANTIZE_FOR_NPU: tuple[Step, ...] = (
    Step(BoundedMasks, "bounded masks", "no grid holds both scores and the lowest float; 100 below is zero after Softmax, too"),
)
"""For devices that take no floats: every tensor must fit an integer grid."""


def run(model: ir.Model, steps: Sequence[Step], *, changed: Callable[[ir.Model], None]) -> tuple[Change, ...]:
    """Run the passes of `steps` on `model`, in place, and return what they changed.

    Args:
        model: with the types and shapes of its inner tensors, as far as they are known.
        steps: a pipeline.
        changed: called after each step that changed something: infers types and shapes again.
    """
    changes = []
    for step in steps:
        forget_names(model.graph)
        rewrite = step.make()
        if rewrite(model).modified:
            remove_unused(model)
            changed(model)
            changes.append(Change(step, rewrite.count))
    return tuple(changes)


def optimize(model: ir.Model, *, merge: bool = True) -> dict[str, int]:
    """Run the passes of an export on `model`, in place.

    A decoder with a cache keeps its rows on three axes: what a Gemm gains with many rows, the reshapes around it cost with
    the one row of a token (docs/log/export.md).

    Args:
        model: as torch's exporter made it.
        merge: whether query, key and value become one product, or one each.

    Returns:
        How many nodes each pass took out of the graph (less than zero: it added some), by the name of the pass.
    """
    left_out: set[type[Rewrite]] = set() if merge else {MergeProjections}
    if has_cache(model.graph):
        left_out |= {FlattenRows, Gemm}
    removed: dict[str, int] = {}
    for kind in EXPORT:
        if kind not in left_out:
            before = model.graph.num_nodes()
            forget_names(model.graph)
            kind()(model)
            _sweep(model)
            removed[kind.__name__] = before - model.graph.num_nodes()
    return removed


def decode_on_cpu(model: ir.Model, *, context: int) -> SharedCache:
    """Bring a decoder that `optimize` has seen into the form ``decoder-cpu``, in place, if its attention allows it.

    Args:
        model: with a cache as inputs and outputs.
        context: most positions, for which rotary tables are made.

    Returns:
        The pass over attention: its `count` is 0, and its `reason` says why, where the model was left as it was.
    """
    attention = SharedCache(context=context)
    for rewrite in (attention, AskedRows(), SkipNorms()):
        forget_names(model.graph)
        rewrite(model)
        remove_unused(model)
        if not attention.count:
            break
    if attention.count:
        _drop_positions(model)
    return attention


def _drop_positions(model: ir.Model) -> None:
    """Remove the input of positions where rotation inside of attention has left nothing that reads it."""
    graph = model.graph
    graph.inputs[:] = [value for value in graph.inputs if value.name != "position_ids" or value.uses()]


def _sweep(model: ir.Model) -> None:
    """Drop what no longer reaches an output, and compute what is computed twice once."""
    common.CommonSubexpressionEliminationPass()(model)
    common.RemoveUnusedNodesPass()(model)
    common.DeduplicateInitializersPass()(model)
