"""Result of an export."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgeopt.graph.signature import TensorSpec


@dataclass(frozen=True)
class Parity:
    """Difference between onnxruntime's and PyTorch's outputs, over all outputs, samples and both optimisation levels."""

    max_abs_error: float
    relative_error: float
    """The largest error as a share of the largest magnitude of the output it is in."""
    tolerance: float
    samples: int
    shapes: tuple[str, ...]
    """The input shapes that were compared, such as ``input_ids 3×17``."""
    passed: bool


@dataclass(frozen=True)
class Decoding:
    """A decoder's answers over a shared cache, compared with PyTorch's without one."""

    kl: float
    """Mean Kullback-Leibler divergence of the next token's distribution, in nats."""
    tokens: int
    same_tokens: int
    """Positions at which both choose the same next token."""
    relative_error: float


@dataclass(frozen=True)
class ExportFacts:
    """What is known of an exported model."""

    opset: int
    dtype: str
    """The floating type of the weights; "" without weights."""
    attention: str
    projections: str
    family: str
    task: str
    nodes: int
    op_counts: dict[str, int]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parity: Parity
    size_bytes: int
    passes: dict[str, int]
    """Number of changes by each graph pass."""
    warnings: tuple[str, ...]
    decoder: str = field(default="", kw_only=True)
    """The form of a decoder: portable, decoder-cpu; "" for other models."""
    decoding: Decoding | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class ExportResult(ExportFacts):
    """An exported model and facts about it."""

    path: Path
    files: tuple[Path, ...]
    """All files written, the model first."""

    def facts(self) -> dict[str, Any]:
        """Return the result as JSON-able values, without folders."""
        values = asdict(self)
        del values["path"]
        values["files"] = [file.name for file in self.files]
        return values
