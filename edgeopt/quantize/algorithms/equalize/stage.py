"""Equalise a prepared model: look at its channels on the data, choose scales, multiply them in."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np

from edgeopt import progress
from edgeopt.batches import Batches
from edgeopt.errors import RecipeError
from edgeopt.graph.editing import copied
from edgeopt.graph.matching import name_of, names_of
from edgeopt.graph.outputs import open_exposed, run
from edgeopt.quantize.algorithms.equalize.blocks import Block, find_blocks, scale_block, weights_of
from edgeopt.quantize.algorithms.equalize.choose import Seen, choose_scales
from edgeopt.quantize.calibrate.samples import CheckedSamples, samples_of
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.plan.plan import Decision, EqualizePlan
from edgeopt.quantize.prepare import Prepared
from edgeopt.targets.target import Target

_BATCHES = 256  # looked at, at most


def equalized(prepared: Prepared, calibration: Batches | CheckedSamples, target: Target, config: QuantizeConfig) -> Prepared:
    """Return the model with its channels equalised, where the target has one weight scale for each tensor.

    The scales are chosen on the calibration data.
    """
    blocks = list(find_blocks(prepared.model))
    if target.quantization.per_channel or not config.equalize or not blocks:
        return prepared
    seen = _look(prepared, blocks, samples_of(calibration, prepared.signature), threads=config.threads)
    plans, gains = [], []
    for block in blocks:
        parts = tuple(seen[name] for name in (name_of(block.expand.inputs[0]), *block.between))
        choice = choose_scales(weights_of(block), parts, block.ceilings)  # type: ignore[arg-type]
        if choice.gain_db > 0:
            first, second = (tuple(map(float, item)) for item in (choice.first, choice.second))
            plans.append(EqualizePlan(name_of(block.depthwise), first, second))
            gains.append(choice.gain_db)
    if not plans:
        return prepared
    made = apply_plans(prepared, tuple(plans), "equalisation")
    reason = f"one weight scale for each tensor suffices then: {min(gains):.1f} to {max(gains):.1f} dB less error expected"
    decision = Decision("equalisation", f"{len(plans)} of {len(blocks)} depthwise convolutions and their neighbours", reason)
    return replace(made, decisions=(*made.decisions, decision))


def apply_plans(prepared: Prepared, plans: tuple[EqualizePlan, ...], where: str) -> Prepared:
    """Return the model with the scales of `plans` multiplied in; `where` names their origin in errors.

    Raises:
        RecipeError: the scales are not for this model.
    """
    if not plans:
        return prepared
    model = copied(prepared.model)
    blocks = {block.depthwise.name: block for block in find_blocks(model)}
    for plan in plans:
        block = blocks.get(plan.name)
        size = weights_of(block)[1].shape[0] if block else None
        if block is None or (len(plan.first), len(plan.second)) != (size, size):
            raise RecipeError(f"{where}: the model has no depthwise convolution '{plan.name}' of {len(plan.first)} channels")
        scale_block(block, np.array(plan.first), np.array(plan.second))
    return replace(prepared, model=model, equalization=plans)


def _look(prepared: Prepared, blocks: list[Block], calibration: CheckedSamples, *, threads: int) -> dict[str, Seen]:
    """Return the channels' largest values and variances of all tensors the blocks' convolutions read."""
    model = prepared.model
    names = list(dict.fromkeys(name for block in blocks for name in (name_of(block.expand.inputs[0]), *block.between)))
    inputs = set(names_of(model.graph.inputs))
    inner = [name for name in names if name not in inputs]
    session = open_exposed(model, inner, threads=threads)
    largest: dict[str, np.ndarray] = {}
    sums: dict[str, np.ndarray] = {}
    progress.note("equalisation: a pass over the data for the channels' variances")
    for number, batch in enumerate(islice(calibration, _BATCHES)):
        made = run(session, inner, batch, sample=number)
        for name in names:
            values = np.asarray(made.get(name, batch.get(name)), dtype=np.float64)
            rows = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
            peak = np.abs(rows).max(axis=1)
            moments = np.stack([np.full(rows.shape[0], rows.shape[1]), rows.sum(axis=1), np.square(rows).sum(axis=1)])
            largest[name] = np.maximum(largest[name], peak) if name in largest else peak
            sums[name] = sums[name] + moments if name in sums else moments
    return {name: Seen(largest[name], np.maximum(_variance(sums[name]), 0)) for name in names}


def _variance(moments: np.ndarray) -> np.ndarray:
    count, total, squares = moments
    return np.asarray(squares / count - np.square(total / count))
