"""Adaptive rounding as a step of the stage: of what the plan made, with the calibration data."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np

from edgeopt.data.batches import Batches
from edgeopt.quantize.algorithms.rounding.adapt import adapt
from edgeopt.quantize.calibrate.samples import checked
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.plan.make import smoothed
from edgeopt.quantize.plan.plan import Decision
from edgeopt.quantize.prepare import Prepared
from edgeopt.quantize.search.exceptions import Kept


def adapted(prepared: Prepared, kept: Kept, calibration: Batches, config: QuantizeConfig) -> Kept:
    """Return `kept` with the integers of its weights, and its biases, chosen anew (the model is changed in place)."""
    samples = list(islice(checked(calibration, prepared.signature), config.rounding_samples))
    layers = adapt(smoothed(prepared.model, kept.plan), kept.quantized, samples, threads=config.threads)
    if not layers:
        return kept
    gains = [10 * float(np.log10(layer.before / layer.after)) for layer in layers if layer.before > 0 < layer.after]
    decision = Decision(
        "rounding",
        f"{len(layers)} layers, each weight up or down",
        f"the error of their outputs on {len(samples)} batches falls by {np.mean(gains or [0.0]):.1f} dB on average",
    )
    return replace(kept, plan=replace(kept.plan, decisions=(*kept.plan.decisions, decision)))
