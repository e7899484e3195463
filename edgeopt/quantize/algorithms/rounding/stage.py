"""Adaptive rounding as a step of the stage, with the calibration data."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from edgeopt.batches import Batches
from edgeopt.graph.editing import copied
from edgeopt.quantize.algorithms.rounding.adapt import adapt
from edgeopt.quantize.apply.smooth import smoothed
from edgeopt.quantize.calibrate.samples import CheckedSamples, samples_of
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.inspect.exact import ExactOutputs
from edgeopt.quantize.prepare import Prepared
from edgeopt.quantize.search.trials import Outcome

_WHAT = "rounding"
_HELD_ASIDE = 8  # batches at most


def adapted_if_better(
    prepared: Prepared, outcome: Outcome, calibration: Batches | CheckedSamples, *, config: QuantizeConfig
) -> Outcome:
    """Return what `adapted` makes of `outcome` if the model's outputs are nearer to the exact ones; else `outcome`.

    Each layer's own output always is; those behind it need not gain by that. Up to eight batches, a quarter of them all, are
    held aside to judge.
    """
    batches = samples_of(calibration, prepared.signature).take(config.rounding_samples)
    count = min(_HELD_ASIDE, len(batches) // 4)
    exact = ExactOutputs(prepared.model, batches[-count:], config.threads)
    with_nearest = exact.db(outcome.quantized)
    nearest = copied(outcome.quantized)
    made = adapted(prepared, outcome, batches[: len(batches) - count], config=config)
    if made is outcome:
        return outcome
    db = exact.db(made.quantized)
    where = f"{count} batches held aside" if count else "the same batches"
    judged = f"the model's outputs on {where}: {with_nearest:.1f} → {db:.1f} dB"
    (decision,) = [item for item in made.plan.decisions if item.what == _WHAT]
    if db >= with_nearest:
        return replace(outcome, plan=outcome.plan.decided(_WHAT, decision.choice, f"{decision.reason}; {judged}"))
    plan = outcome.plan.decided(_WHAT, "nearest, as it was", f"{decision.reason}, but {judged}")
    return replace(outcome, quantized=nearest, plan=plan)


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
        _WHAT,
        f"{len(layers)} layers, each weight up or down",
        f"the error of their outputs on {len(samples)} batches falls by {np.mean(gains or [0.0]):.1f} dB on average",
    )
    return replace(outcome, plan=plan)
