"""Adaptive rounding as a step of the stage, with the calibration data."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from edgeopt.batches import Batches
from edgeopt.quantize.algorithms.rounding.adapt import adapt
from edgeopt.quantize.apply.smooth import smoothed
from edgeopt.quantize.calibrate.samples import CheckedSamples, samples_of
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.prepare import Prepared
from edgeopt.quantize.search.trials import Outcome


def adapted(
    prepared: Prepared,
    outcome: Outcome,
    calibration: Batches | CheckedSamples,
    seconds: float = math.inf,
    *,
    config: QuantizeConfig,
) -> Outcome:
    """Return `outcome` with the integers of its weights, and its biases, chosen again (the model is changed in place).

    After `seconds` the layers that are left stay as they are.
    """
    samples = samples_of(calibration, prepared.signature).take(config.rounding_samples)
    layers = adapt(smoothed(prepared.model, outcome.plan), outcome.quantized, samples, threads=config.threads, seconds=seconds)
    if not layers:
        return outcome
    gains = [10 * float(np.log10(layer.before / layer.after)) for layer in layers if layer.before > 0 < layer.after]
    plan = outcome.plan.decided(
        "rounding",
        f"{len(layers)} layers, each weight up or down",
        f"the error of their outputs on {len(samples)} batches falls by {np.mean(gains or [0.0]):.1f} dB on average",
    )
    return replace(outcome, plan=plan)
