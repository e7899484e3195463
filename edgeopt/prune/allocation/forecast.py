"""What is known of a model's parts before anything is pruned or trained: the material that allocations are chosen from.

Errors are in one unit, so that they can be added and compared: the power of what changes at the model's outputs, as a share of
the outputs' own power (10^(−SQNR/10) where a quantizer causes it). They are of the model as it is; training makes them smaller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Version:
    """A part with fewer units.

    Attributes:
        units: how many are left.
        error: what their absence alone changes at the model's outputs.
        ms: time on the target, by precision ("fp32", "int8").
    """

    units: int
    error: float
    ms: Mapping[str, float]


@dataclass(frozen=True)
class PartForecast:
    """A part and its versions.

    Attributes:
        versions: from no units, or as few as can be, to all.
        parameters_per_unit: of its layers.
        int8_error: what its layers on integers alone change at the model's outputs.
        nodes: names of its products in the graph that is quantized; excluding them keeps the part in floating point.
    """

    versions: tuple[Version, ...]
    parameters_per_unit: float
    int8_error: float = 0.0
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Forecast:
    """All parts of a model on one target.

    Attributes:
        parts: by name; empty: nothing can be predicted.
        base_ms: time of everything else, by precision.
        whole_ms: measured time of the whole model, by precision.
        whole_bytes: size of the whole model's file in the last of the precisions.
        fit_error: mean relative error of the latency table on the whole models it was fitted to, by precision.
        reason: why nothing can be predicted.
    """

    parts: Mapping[str, PartForecast] = field(default_factory=dict)
    base_ms: Mapping[str, float] = field(default_factory=dict)
    whole_ms: Mapping[str, float] = field(default_factory=dict)
    whole_bytes: float = 0.0
    fit_error: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""

    @property
    def precisions(self) -> tuple[str, ...]:
        """The forms a part can have, that of `whole_bytes` last."""
        return tuple(self.base_ms)
