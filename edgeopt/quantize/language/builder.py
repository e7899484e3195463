"""A language model with each matrix in the bits that it was given; matrices rounded once are kept packed for the next build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt import progress
from edgeopt.graph.editing import copied, forget_names, remove_unused
from edgeopt.quantize.language.blocks import Blocked, Rounding, joined, round_blocks
from edgeopt.quantize.language.feedback import round_with_feedback
from edgeopt.quantize.language.layers import Layer, Packed, declare, find_layers, find_tables, side_by_side

Moments = Mapping[str, NDArray[np.float64]]


@dataclass
class Builder:
    """Builds quantized versions of one model.

    Attributes:
        model: floating point; not changed.
        rounding: how 4-bit blocks are chosen; 8 bits are rounded to nearest.
        feedback: whether 4-bit matrices with moments are rounded by GPTQ.
        moments: Σ xᵀx of what each matrix is multiplied with, by the name of that tensor; none without text.
        table_bits: of embeddings that are no head as well; 0: they stay as they are.
    """

    model: ir.Model
    block: int
    head_block: int
    rounding: Rounding
    feedback: bool = False
    moments: Moments = field(default_factory=dict)
    table_bits: int = 8
    _made: dict[tuple[str, int], Blocked] = field(default_factory=dict)

    def build(self, bits: Mapping[str, int]) -> ir.Model:
        """Return the model with embeddings and matrices as blocks; `bits`: of each matrix, by the name of its node.

        Matrices that are left out stay in floating point.
        """
        model = copied(self.model)
        graph = model.graph
        forget_names(graph)
        tables = {table.source.name: table for table in find_tables(model)} if self.table_bits else {}
        chosen = [layer for layer in find_layers(model) if layer.name in bits]
        with progress.task("round weights", total=len(chosen)) as advance:
            for layers in side_by_side(chosen, bits):
                layer, width = layers[0], bits[layers[0].name]
                blocks = joined([self.blocks(layer, width) for layer in layers])
                made = Packed(graph, blocks, f"{layer.name}.weight", width)
                table = tables.pop(layer.source.name, None) if layer.turned and made.whole else None
                if len(layers) > 1:
                    made.multiply_all(layers)
                else:
                    made.multiply(layer)
                if table is not None:
                    made.look_up(table)
                advance(len(layers))
        for table in tables.values():
            block = self._block_for(np.asarray(table.source.const_value).shape[1]) if table.source.const_value else 0
            if block and table.source.const_value is not None:
                rows = round_blocks(table.source.const_value.numpy(), bits=self.table_bits, block=block)
                Packed(graph, rows, f"{table.source.name}", self.table_bits).look_up(table)
        declare(model)
        remove_unused(model)
        return model

    def _block_for(self, width: int) -> int:
        """Return the largest block, at most the head's, that divides a row; 0 where none does."""
        return next((block for block in (128, 64, 32, 16) if block <= self.head_block and width % block == 0), 0)

    def blocks(self, layer: Layer, bits: int) -> Blocked:
        """Return a matrix as blocks of this many bits."""
        key = layer.name, bits
        if key not in self._made:
            self._made[key] = self._rounded(layer, bits)
        return self._made[key]

    def replace(self, blocks: Mapping[str, Blocked]) -> None:
        """Use other 4-bit blocks for some matrices, by the name of their node."""
        self._made |= {(name, 4): made for name, made in blocks.items()}

    def _rounded(self, layer: Layer, bits: int) -> Blocked:
        weight = layer.weight()
        if bits == 8:
            width = weight.shape[1]
            block = (self._block_for(width) or self.block) if layer.head else self.block
            return round_blocks(weight, bits=8, block=block)
        inner = self.moments.get(layer.given.name or "")
        if self.feedback and inner is not None:
            return round_with_feedback(weight, inner, bits=4, block=self.block)
        importance = None if inner is None else np.diag(inner).astype(np.float32)
        return round_blocks(weight, bits=4, block=self.block, rounding=self.rounding, importance=importance)
