"""Graph passes that run between torch's exporter and the file; each module opens with what it does, Before and After."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from edgeopt.passes.attention_layout import AttentionLayout
from edgeopt.passes.attention_scale import AttentionScale
from edgeopt.passes.chosen_rows import ChosenRows
from edgeopt.passes.conv_types import ConvTypes
from edgeopt.passes.flatten_rows import FlattenRows
from edgeopt.passes.fold_reshapes import FoldReshapes
from edgeopt.passes.fuse_cache import FuseCache, has_cache
from edgeopt.passes.fuse_rms_norm import FuseRmsNorm
from edgeopt.passes.fuse_rotary import FuseRotary
from edgeopt.passes.gates_apart import GatesApart
from edgeopt.passes.instance_norm import InstanceNorm
from edgeopt.passes.merge_projections import MergeProjections
from edgeopt.passes.packed_heads import PackedHeads
from edgeopt.passes.plain_products import PlainProducts
from edgeopt.passes.recurrent_weights import RecurrentWeights
from edgeopt.passes.transposed_weights import TransposedWeights

PASSES: tuple[type[ir.passes.InPlacePass], ...] = (
    ConvTypes,
    RecurrentWeights,
    TransposedWeights,
    PlainProducts,
    FuseRmsNorm,
    FuseRotary,
    InstanceNorm,
    FuseCache,
    AttentionScale,
    PackedHeads,
    AttentionLayout,
    ChosenRows,
    GatesApart,
    MergeProjections,
    FlattenRows,
    FoldReshapes,
)
"""In this order: a row can be chosen where attention has three axes and query, key and value are products of their own;
rows are flattened when all of that is done."""


def optimize(model: ir.Model, *, merge: bool = True) -> dict[str, int]:
    """Run all passes on `model`, in place.

    A decoder with a cache keeps its rows on three axes: what a Gemm gains with many rows, the reshapes around it cost with
    the one row of a token (docs/log/export.md).

    Args:
        model: as torch's exporter made it.
        merge: whether query, key and value become one product, or one each.

    Returns:
        How many nodes each pass took out of the graph (less than zero: it added some), by the name of the pass.
    """
    left_out = ({FlattenRows} if has_cache(model.graph) else set()) | (set() if merge else {MergeProjections})
    removed: dict[str, int] = {}
    for kind in PASSES:
        if kind not in left_out:
            before = model.graph.num_nodes()
            kind()(model)
            _sweep(model)
            removed[kind.__name__] = before - model.graph.num_nodes()
    return removed


def _sweep(model: ir.Model) -> None:
    """Drop what no longer reaches an output, and compute what is computed twice once."""
    common.CommonSubexpressionEliminationPass()(model)
    common.RemoveUnusedNodesPass()(model)
    common.DeduplicateInitializersPass()(model)
