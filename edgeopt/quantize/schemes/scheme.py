"""The request to a scheme, its result, and the protocol that all schemes implement.

A scheme is a module of this folder with `REWRITES`, `convert` and `draft`; `SCHEMES` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import onnx_ir as ir

from edgeopt.batches import Batches
from edgeopt.quantize.calibrate.samples import CheckedSamples, samples_of
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.inspect.exact import ExactOutputs
from edgeopt.quantize.plan.cause import Why
from edgeopt.quantize.plan.plan import Decision, NodePlan, Plan, Scheme
from edgeopt.quantize.prepare import Prepared
from edgeopt.quantize.result import KeptMetric, LayerNoise
from edgeopt.targets.target import Target

Evaluate = Callable[[Path], float]
"""Returns the metric of an ONNX file; larger is better."""

SCHEMES = {
    "static": "static",
    "dynamic": "dynamic",
    "float16": "half",
    "bfloat16": "bfloat16",
    "weights-int8": "weights",
    "weights-int4": "weights",
}
"""The module of this folder, by the scheme's name."""


@dataclass(frozen=True)
class Request:
    """What a scheme works on: the prepared model (not to be changed), data, options, and nodes that are to stay as they are."""

    prepared: Prepared
    calibration: Batches | CheckedSamples
    config: QuantizeConfig
    excluded: Mapping[str, Why] = field(default_factory=dict)
    """The nodes that are to stay as they are, with the cause."""
    saved: Plan | None = None
    """The plan that is to be carried out again, if there is one."""
    target: Target | None = None
    evaluate: Evaluate | None = None
    path: Path | None = None
    """The floating-point file, which `evaluate` can measure."""

    @cached_property
    def samples(self) -> CheckedSamples:
        """The calibration data in parts that the model takes."""
        return samples_of(self.calibration, self.prepared.signature)


@dataclass(frozen=True)
class Converted:
    """A model in its new form, what became of each node, and why."""

    model: ir.Model
    scheme: Scheme
    nodes: tuple[NodePlan, ...]
    decisions: tuple[Decision, ...]
    warnings: tuple[str, ...] = ()
    samples: int = 0
    """Calibration samples that were looked at."""
    calibrated: Plan | None = None
    """The whole plan, where ranges belong to it."""
    afterwards: tuple[Decision, ...] = ()
    """What was done beside the plan: it is in the facts, not in the plan that is saved."""
    sensitivity: tuple[LayerNoise, ...] = ()
    metric: KeptMetric | None = None
    """What `max_drop` kept, where nothing was trained or rounded otherwise afterwards."""
    exact: ExactOutputs | None = None
    """What to compare with, where the scheme has looked at it."""

    def plan(self, request: Request) -> Plan:
        """Return the plan that the model was made by."""
        if self.calibrated is not None:
            return self.calibrated
        target = request.target.name if request.target is not None else ""
        return Plan(target, self.scheme, self.nodes, (), (*request.prepared.decisions, *self.decisions))


class SchemeModule(Protocol):
    """A way to quantize."""

    REWRITES: bool
    """Whether the model is brought into the form that the target's integer kernels take best."""

    def convert(self, request: Request) -> Converted:
        """Return the model in its new form."""
        ...

    def draft(self, request: Request) -> Plan:
        """Return the plan that `convert` would carry out."""
        ...


def scheme_called(name: str) -> SchemeModule:
    """Return a scheme by its name in the options."""
    return cast("SchemeModule", import_module(f"edgeopt.quantize.schemes.{SCHEMES[name]}"))


def uniform(dtype: str, weight: str | None = None, *, per_channel: bool = False) -> Scheme:
    """Return the description of a scheme without integer grids for activations."""
    return Scheme(dtype, weight or dtype, per_channel, symmetric_activation=True, symmetric_weight=True)
