"""What the stage `quantize` returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeopt.quantize.inspect.coverage import Coverage
from edgeopt.quantize.inspect.sqnr import LayerNoise
from edgeopt.quantize.plan.plan import Decision, Scheme


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


@dataclass(frozen=True)
class QuantizeResult:
    """The quantized model, the plan it was made by, and the facts."""

    path: Path
    plan_path: Path
    facts: QuantizeFacts
