"""A quantization plan: a value that can be printed, saved, edited and replayed, with a reason for each decision."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from edgeopt.errors import UserError
from edgeopt.files import write_aside

Precision = Literal["int8", "int4", "int16", "float16", "bfloat16", "float"]
_VERSION = 1


@dataclass(frozen=True)
class Decision:
    """One decision and its reason."""

    what: str
    choice: str
    reason: str


@dataclass(frozen=True)
class Scheme:
    """The integer types and grids of the plan."""

    activation: str
    weight: str
    per_channel: bool
    symmetric_activation: bool
    symmetric_weight: bool
    per_channel_ops: tuple[str, ...] = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    bias: Literal["int32", "float"] = "int32"
    norm_weight: Literal["int8", "uint8"] = "int8"


@dataclass(frozen=True)
class NodePlan:
    """What becomes of one node: `output` says whether its result is rounded to integers as well."""

    name: str
    op: str
    precision: Precision
    output: Literal["int8", "float"]
    reason: str
    reduce_range: bool = False
    reads: tuple[str, ...] = ()
    """The inputs it reads rounded, where these are not all of its activations."""


@dataclass(frozen=True)
class TensorPlan:
    """The range of one activation: the integer grid of `dtype` spans [`low`, `high`]."""

    name: str
    dtype: str
    low: float
    high: float
    method: str


@dataclass(frozen=True)
class SmoothPlan:
    """An activation whose channels are divided by `factors` before it is rounded, and its weights multiplied."""

    name: str
    strength: float
    factors: tuple[float, ...]


@dataclass(frozen=True)
class EqualizePlan:
    """A depthwise convolution whose channels are multiplied by `first` before it and by `second` behind it."""

    name: str
    first: tuple[float, ...]
    second: tuple[float, ...]


@dataclass(frozen=True)
class Plan:
    """Everything `perform` needs to know."""

    target: str
    scheme: Scheme
    nodes: tuple[NodePlan, ...]
    tensors: tuple[TensorPlan, ...]
    decisions: tuple[Decision, ...]
    smoothing: tuple[SmoothPlan, ...] = ()
    equalization: tuple[EqualizePlan, ...] = ()

    @property
    def integer_nodes(self) -> tuple[NodePlan, ...]:
        """The nodes that are to run on integers."""
        return tuple(node for node in self.nodes if node.precision != "float")

    def with_floats(self, names: set[str], reason: str) -> Plan:
        """Return the plan with the nodes called `names` left in floating point."""
        nodes = tuple(
            replace(node, precision="float", output="float", reason=reason) if node.name in names else node
            for node in self.nodes
        )
        return replace(self, nodes=nodes)

    def to_json(self) -> str:
        """Return the plan as JSON text; `from_json` reads it back."""
        return json.dumps({"version": _VERSION, **asdict(self)}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, where: str) -> Plan:
        """Read a plan; `where` names its origin in errors.

        Raises:
            UserError: the text is not a plan of this version.
        """
        try:
            values = json.loads(text)
            version = values.pop("version")
        except (json.JSONDecodeError, AttributeError, TypeError, KeyError) as error:
            raise UserError(f"{where}: not a quantization plan (JSON with a version); save one with --dry-run first") from error
        if version != _VERSION:
            raise UserError(f"{where}: plan version {version} cannot be read, only {_VERSION}; make the plan again")
        try:
            return cls._build(values)
        except (TypeError, KeyError) as error:
            raise UserError(f"{where}: wrong or missing key in the plan: {error}; compare it with a fresh plan") from error

    @classmethod
    def _build(cls, values: dict[str, Any]) -> Plan:
        return cls(
            target=values["target"],
            scheme=Scheme(**_tuples(values["scheme"])),
            nodes=tuple(NodePlan(**_tuples(node)) for node in values["nodes"]),
            tensors=tuple(TensorPlan(**tensor) for tensor in values["tensors"]),
            decisions=tuple(Decision(**decision) for decision in values["decisions"]),
            smoothing=tuple(SmoothPlan(**_tuples(item)) for item in values["smoothing"]),
            equalization=tuple(EqualizePlan(**_tuples(item)) for item in values.get("equalization", ())),
        )


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def save_plan(plan: Plan, model: Path) -> Path:
    """Write the plan beside the model's file, as ``<stem>.plan.json``, and return its path."""
    path = model.with_suffix(".plan.json")
    with write_aside(path) as aside:
        aside.write_text(plan.to_json(), encoding="utf-8")
    return path


def load_plan(path: Path) -> Plan:
    """Read a plan from a file."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: the plan cannot be read: {error.strerror}") from error
    return Plan.from_json(text, where=str(path))
