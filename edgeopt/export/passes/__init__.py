"""Graph passes that run between torch's exporter and the file; each module opens with what it does, Before and After."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from edgeopt.export.passes.attention_layout import AttentionLayout
from edgeopt.export.passes.chosen_rows import ChosenRows
from edgeopt.export.passes.conv_types import ConvTypes
from edgeopt.export.passes.flatten_rows import FlattenRows
from edgeopt.export.passes.fold_reshapes import FoldReshapes
from edgeopt.export.passes.fuse_rms_norm import FuseRmsNorm
from edgeopt.export.passes.fuse_rotary import FuseRotary
from edgeopt.export.passes.instance_norm import InstanceNorm
from edgeopt.export.passes.merge_projections import MergeProjections

PASSES: tuple[type[ir.passes.InPlacePass], ...] = (
    ConvTypes,
    FuseRmsNorm,
    FuseRotary,
    InstanceNorm,
    AttentionLayout,
    ChosenRows,
    MergeProjections,
    FlattenRows,
    FoldReshapes,
)
"""In this order: a row can be chosen where attention has three axes and query, key and value are products of their own;
rows are flattened when all of that is done."""


def optimize(model: ir.Model) -> dict[str, int]:
    """Run all passes on `model`, in place.

    Returns:
        How many nodes each pass took out of the graph (less than zero: it added some), by the name of the pass.
    """
    removed: dict[str, int] = {}
    for kind in PASSES:
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
