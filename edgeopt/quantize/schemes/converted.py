"""What every scheme returns, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from edgeopt.batches import Batches
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.plan.cause import Why
from edgeopt.quantize.plan.plan import Decision, NodePlan, Scheme
from edgeopt.quantize.prepare import Prepared


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


@dataclass(frozen=True)
class Request:
    """What a scheme works on: the prepared model (not to be changed), data, options, and nodes that are to stay as they are."""

    prepared: Prepared
    calibration: Batches
    config: QuantizeConfig
    excluded: Mapping[str, Why]
    """The nodes that are to stay as they are, with the cause."""


Convert = Callable[[Request], Converted]


def uniform(dtype: str, weight: str | None = None, *, per_channel: bool = False) -> Scheme:
    """Return the description of a scheme without integer grids for activations."""
    return Scheme(dtype, weight or dtype, per_channel, symmetric_activation=True, symmetric_weight=True)
