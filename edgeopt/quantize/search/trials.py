"""How the searches try a plan: carried out in memory, on a few samples, in the form that will run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import onnx_ir as ir

from edgeopt import metric
from edgeopt.batches import Batch
from edgeopt.graph import files
from edgeopt.lifetime import temporary_folder
from edgeopt.quantize.apply.smooth import smoothed
from edgeopt.quantize.inspect.exact import ExactOutputs
from edgeopt.quantize.plan.basis import PlanBasis
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import Plan
from edgeopt.quantize.result import KeptMetric, LayerNoise
from edgeopt.quantize.search.kernel_times import KernelTimes

LARGEST_BYTES = 200 * 10**6
"""Of weights: larger models are not quantized, or run, several times to find out what is best."""
_DIGITS = 1e-9  # differences of metrics this small are float64's own


@dataclass(frozen=True)
class Outcome:
    """The plan a search ends with, what it makes of the model, the sensitivities (if looked at), a warning, the metric."""

    plan: Plan
    quantized: ir.Model
    sensitivity: tuple[LayerNoise, ...] = ()
    warning: str = ""
    metric: KeptMetric | None = None


@dataclass(frozen=True)
class Trials:
    """What every search needs."""

    basis: PlanBasis
    """Of the prepared model: plans with other exceptions follow from it."""
    make: Callable[[Plan], ir.Model]
    """Carries a plan out."""
    finished: Callable[[ir.Model], ir.Model]
    """Returns a copy of what `make` returned, in the form that will run."""
    samples: Sequence[Batch]
    threads: int = 1

    @cached_property
    def exact(self) -> ExactOutputs:
        """What the prepared model gives on the samples."""
        return ExactOutputs(self.basis.model, self.samples, self.threads)

    @cached_property
    def times(self) -> KernelTimes:
        """Predicts how long placements take, by the target's kernel costs."""
        return KernelTimes(self.basis.model, self.samples[0], self.basis.quantization.costs)

    def slower(self, plan: Plan) -> str:
        """Return a warning where a plan is predicted to be slower than floating point on the target, else ""."""
        if not self.basis.quantization.costs.integer or files.weights_bytes(self.basis.model) > LARGEST_BYTES:
            return ""
        before, after = self.times.total_us(()), self.times.total_us(plan.nodes)
        if after <= before or not plan.integer_nodes:
            return ""
        return (
            f"int8 is predicted to be slower than floating point on this target ({after:.0f} against {before:.0f} us for one "
            "sample); compare them with edgeopt profile, or use --set prefer_faster=true"
        )

    def floating(self, plan: Plan) -> ir.Model:
        """Return the floating-point model that `plan` rounds: prepared, and smoothed."""
        return smoothed(self.basis.model, plan)

    def without(self, plan: Plan, layers: Iterable[LayerNoise], cause: Cause) -> Plan:
        """Return the plan with these layers in floating point, too."""
        return plan.without([layer.name for layer in layers], cause, basis=self.basis)


@dataclass(frozen=True)
class Metric:
    """A metric to keep: how it is measured, on what file in floating point, and how much of it may be lost."""

    evaluate: Callable[[Path], float]
    model: Path
    max_drop: float

    @cached_property
    def baseline(self) -> float:
        """The merit of the floating-point model, measured once."""
        return self.evaluate(self.model)

    def drop(self, quantized: ir.Model, trials: Trials) -> float:
        """Return the merit that is lost with this model, as it will run."""
        baseline = self.baseline
        with temporary_folder() as folder:
            path = Path(folder) / "candidate.onnx"
            files.save(trials.finished(quantized), path)
            return baseline - self.evaluate(path)

    def kept(self, drop: float) -> KeptMetric:
        """Return the metric's values before and after such a drop."""
        before, after = (self.measured.value(merit) for merit in (self.baseline, self.baseline - drop))
        return KeptMetric(before, after, self.measured)

    @property
    def measured(self) -> metric.Metric:
        """What the function measures, as far as it says so."""
        return self.evaluate.metric if isinstance(self.evaluate, metric.Merit) else metric.UNNAMED

    def allows(self, drop: float) -> bool:
        """Return whether the metric may drop by this much (0.8 - 0.7 is a little more than 0.1)."""
        return drop <= self.max_drop + _DIGITS


def named(layers: Sequence[LayerNoise]) -> str:
    """Return the names of the first three layers."""
    return ", ".join(layer.name for layer in layers[:3]) + (" …" if len(layers) > 3 else "")
