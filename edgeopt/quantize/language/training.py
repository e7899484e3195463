"""4-bit weights of a decoder, trained towards the floating-point model: layer by layer, then all scales at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from edgeopt.graph.editing import copied, replace_constant
from edgeopt.graph.generation import Generation
from edgeopt.quantize.language.blocks import Blocked
from edgeopt.quantize.language.config import LanguageTrainingOptions
from edgeopt.quantize.language.layer_training import train_layers
from edgeopt.quantize.language.layers import Rounded
from edgeopt.quantize.language.scale_training import train_scales
from edgeopt.quantize.language.search import grouped
from edgeopt.quantize.language.text import Tokens, spread


@dataclass(frozen=True)
class TrainedWeights:
    """The blocks of all matrices by the names of their nodes, and the floating-point model with the norms that go with them."""

    blocks: dict[str, Blocked]
    model: ir.Model


def train_weights(
    model: ir.Model,
    rounded: Sequence[Rounded],
    facts: Generation,
    windows: Sequence[Tokens],
    *,
    options: LanguageTrainingOptions,
) -> TrainedWeights:
    """Return trained blocks in the place of `rounded`.

    Args:
        model: the decoder in floating point; not changed.
        rounded: its 4-bit matrices, the head and embedding among them where they are at 4 bits.
        facts: of the decoder.
        windows: of text.
        options: how long, and how.

    Raises:
        ModelError: an operator has no form in PyTorch, or the loss is not finite.
        RecipeError: there are too few windows, or the time is too short.
    """
    if options.checkpoint is not None:
        options.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    blocks = {one.layer.name: one.blocks for one in rounded}
    by_name = {one.layer.name: one for one in rounded}
    groups = [[by_name[name] for name in names] for names in grouped([one.layer for one in rounded]).values()]
    if options.whole_share < 1 and groups:  # (the head alone is in none)
        tables = {one.layer.source: one.blocks.matrix() for one in rounded if one.layer.head and one.layer.turned}
        part = spread(list(windows), options.windows)
        blocks |= train_layers(model, groups, facts, part, options=options.of_layers(), tables=tables)
    if options.whole_share == 0:
        return TrainedWeights(blocks, model)
    rounded = [replace(one, blocks=blocks[one.layer.name]) for one in rounded]
    made = train_scales(model, rounded, facts, windows, options=options.of_scales())
    changed = copied(model)
    for name, values in made.norms.items():
        replace_constant(changed.graph.initializers[name], values)
    return TrainedWeights(blocks | made.blocks, changed)
