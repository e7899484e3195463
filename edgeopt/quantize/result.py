"""What the stage `quantize` returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeopt.metric import UNNAMED, Metric
from edgeopt.quantize.plan.plan import Decision, Scheme


@dataclass(frozen=True)
class Island:
    """A node that runs in floating point although its surroundings, or the plan, are on integers."""

    node: str
    op: str
    reason: str


@dataclass(frozen=True)
class Coverage:
    """The share of multiply-accumulates that run in integer kernels, and the islands."""

    int8_macs_share: float | None
    """As the target's provider ran them; None: it is not here, or there are none."""
    islands: tuple[Island, ...]
    seen_in: str = "a run of the graph as onnxruntime optimises it"
    """Where this was read: where the provider is not here, only the file's Q/DQ pairs are known, not what they become."""
    quantized_macs_share: float | None = None
    """The share that is `promised` to run on integers. None: there is none, or it was seen what ran."""
    promised: Literal["Q/DQ pairs", "integer operators"] = "Q/DQ pairs"
    """What a provider may run on integers: products between Q/DQ pairs, or operators such as MatMulInteger and MatMulNBits."""


@dataclass(frozen=True)
class LayerNoise:
    """The SQNR at the output of one node."""

    name: str
    op: str
    sqnr_db: float
    metric_drop: float | None = None
    """The merit that is lost with this layer alone on integers, where that was measured; 0.01 of it is a point."""
    metric: float | None = None
    """The metric's value then."""
    measured: Metric = UNNAMED
    """Which metric that is."""

    @property
    def drop_text(self) -> str:
        """What the metric loses, as people read it; empty where it was not measured."""
        return "" if self.metric_drop is None else self.measured.signed(100 * self.metric_drop)

    @property
    def metric_text(self) -> str:
        """The metric's value, likewise."""
        return "" if self.metric is None else self.measured.text(self.metric)


@dataclass(frozen=True)
class Agreement:
    """How many answers (the class with the largest output) are those of the floating-point model."""

    same: int
    total: int


@dataclass(frozen=True)
class KeptMetric:
    """The metric that `max_drop` keeps: its values for the floating-point model and for the quantized one."""

    before: float
    after: float
    metric: Metric = UNNAMED

    @property
    def text(self) -> str:
        """The change, as people read it."""
        return f"{self.metric.name} {self.metric.text(self.before)} → {self.metric.text(self.after)}"


@dataclass(frozen=True)
class QuantizeFacts:
    """What happened, as it stands in the report; `dataclasses.asdict` of it is JSON."""

    target: str
    scheme: Scheme
    samples: int
    tensors: int
    coverage: Coverage
    layers: tuple[LayerNoise, ...]
    sensitivity: tuple[LayerNoise, ...]
    """What each layer alone does to the outputs, worst first; measured only where `max_drop` needed it."""
    decisions: tuple[Decision, ...]
    warnings: tuple[str, ...]
    size_bytes_before: int
    size_bytes_after: int
    min_onnxruntime: str | None = None
    """The oldest onnxruntime that accepts the file's operators and IR version; also in its metadata."""
    agreement: Agreement | None = None
    """With the floating-point model, on calibration samples; None: no output has classes."""
    metric: KeptMetric | None = None
    """On the labelled samples of `max_drop`; None: there are none."""

    @property
    def outputs_db(self) -> float | None:
        """The SQNR of the worst floating-point output; None if there is none."""
        return min((layer.sqnr_db for layer in self.layers if layer.op == "output"), default=None)


@dataclass(frozen=True)
class QuantizeResult:
    """The quantized model, the plan it was made by, and the facts."""

    path: Path
    plan_path: Path
    facts: QuantizeFacts
