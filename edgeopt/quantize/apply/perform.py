"""Carry a plan out: the floating-point model in, the model with Q/DQ pairs out."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt.quantize.apply.bias import correct_biases
from edgeopt.quantize.apply.clip import clip_weights
from edgeopt.quantize.apply.qdq import insert_qdq
from edgeopt.quantize.apply.smooth import smoothed
from edgeopt.quantize.calibrate.calibrator import Observations
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.plan.plan import Plan


def perform(model: ir.Model, plan: Plan, observations: Observations, config: QuantizeConfig) -> ir.Model:
    """Quantize the prepared `model`, which is not changed; never more than one copy of its weights is made at a time."""
    floating = smoothed(model, plan) if plan.smoothing else model
    quantized = insert_qdq(clip_weights(floating, plan) if config.weight_ranges == "mse" else floating, plan)
    if config.correct_bias and plan.integer_nodes:
        correct_biases(floating, quantized, _means(plan, observations))
    return quantized


def _means(plan: Plan, observations: Observations) -> dict[str, NDArray[np.float64]]:
    """Return the mean of each channel, by tensor, of scaled copies as well."""
    seen = {name: item.channels for name, item in observations.tensors.items() if item.channels is not None and item.count}
    means = {name: channels.mean for name, channels in seen.items()}
    return means | {item.scaled: means[item.name] / np.asarray(item.factors) for item in plan.smoothing if item.name in means}
