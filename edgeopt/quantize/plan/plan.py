"""A quantization plan: a value that can be printed, saved, edited and replayed, with a reason for each decision."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from pydantic import ConfigDict, TypeAdapter, ValidationError

from edgeopt.errors import UserError
from edgeopt.files import write_aside
from edgeopt.quantize.plan.cause import CHANGED, Cause, Why, sentence
from edgeopt.quantize.plan.old_plans import upgraded

Precision = Literal["int8", "int4", "int16", "float16", "bfloat16", "float"]
IntegerType = Literal["int8", "uint8", "int16", "uint16"]
RangeMethod = Literal["min-max", "moving-average", "percentile", "mse", "entropy", "product"]
Interval = tuple[float, float]
_VERSION = 2
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
"""How saved plans are read: no key too many, no number as text, no NaN."""


@dataclass(frozen=True)
class Decision:
    """One decision and its reason."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    what: str
    choice: str
    reason: str


@dataclass(frozen=True)
class Scheme:
    """The integer types and grids of the plan."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    activation: str
    weight: str
    per_channel: bool
    symmetric_activation: bool
    symmetric_weight: bool
    per_channel_ops: tuple[str, ...] = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    bias: Literal["int32", "float"] = "int32"
    norm_weight: Literal["int8", "uint8"] = "int8"

    def has_channels(self, op: str) -> bool:
        """Return whether the weights of an operator have a scale for each output channel."""
        return self.per_channel and op in self.per_channel_ops


@dataclass(frozen=True)
class NodePlan:
    """What becomes of one node, and why: `output` says whether its result is rounded to integers as well."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: str
    op: str
    precision: Precision
    output: Literal["int8", "float"]
    cause: Cause
    detail: str = ""
    """What the cause is about, such as an operator or a tensor."""
    reduce_range: bool = False
    """Weights of 7 bits."""
    reads: tuple[str, ...] = ()
    """The inputs it reads rounded, where these are not all of its activations."""

    @property
    def why(self) -> Why:
        """The cause with its detail."""
        return Why(self.cause, self.detail)

    @property
    def reason(self) -> str:
        """The cause in words, for people."""
        words = sentence(self.why)
        return f"{words}; 7-bit weights, since sums of two products can saturate" if self.reduce_range else words


@dataclass(frozen=True)
class TensorPlan:
    """The range of one activation: the integer grid of `dtype` spans [`low`, `high`]."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: str
    dtype: IntegerType
    low: float
    high: float
    method: RangeMethod
    follows: str | None = None
    """The tensor whose range this is, since both hold the same values (or a Relu or Clip cuts off what differs)."""
    own: Interval | None = None
    """Its own range, where it shares one with others around an operator (`Rules.shared`)."""


@dataclass(frozen=True)
class SmoothPlan:
    """An activation whose channels are divided by `factors` before it is rounded, and its weights multiplied."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: str
    strength: float
    factors: tuple[float, ...]
    result: str = ""
    """What the scaled copy is called, where the model has a tensor called ``<name>_smoothed`` itself."""

    @property
    def scaled(self) -> str:
        """The name of the scaled copy."""
        return self.result or f"{self.name}_smoothed"


@dataclass(frozen=True)
class EqualizePlan:
    """A depthwise convolution whose channels are multiplied by `first` before it and by `second` behind it."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: str
    first: tuple[float, ...]
    second: tuple[float, ...]


class Basis(Protocol):
    """What plans follow from: model, target, calibration; see `edgeopt.quantize.plan.basis`."""

    def derived(self, plan: Plan, floating: dict[str, Why]) -> Plan:
        """Return the plan with the nodes named in `floating`, and no others that can run on integers, in floating point."""
        ...


@dataclass(frozen=True)
class Plan:
    """Everything that is needed to edit the graph."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

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

    @property
    def on_integers(self) -> dict[str, bool]:
        """The names of the nodes that are to run on integers, each with whether its output is rounded."""
        return {node.name: node.output != "float" for node in self.integer_nodes}

    @property
    def floating(self) -> dict[str, Why]:
        """The nodes that stay in floating point, with the cause; `Cause.EDITED` for those edited by hand."""
        nodes = [node for node in self.nodes if node.precision == "float"]
        return {node.name: Why(Cause.EDITED) if node.cause in CHANGED else node.why for node in nodes}

    def without(self, names: Iterable[str], cause: Cause, *, basis: Basis) -> Plan:
        """Return the plan with the nodes called `names` left in floating point, too, and all that depends on it derived again.

        This is the only way to make an exception. What floats already stays so, with its cause.
        """
        return basis.derived(self, {**dict.fromkeys(names, Why(cause)), **self.floating})

    def decided(self, what: str, choice: str, reason: str) -> Plan:
        """Return the plan with one decision more."""
        return replace(self, decisions=(*self.decisions, Decision(what, choice, reason)))

    def to_json(self) -> str:
        """Return the plan as JSON text; `from_json` reads it back. Each node carries its reason in words as well."""
        values = {"version": _VERSION, **asdict(self)}
        for values_of, node in zip(values["nodes"], self.nodes, strict=True):
            values_of["reason"] = node.reason
        return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, where: str) -> Plan:
        """Read a plan of this version or of version 1; `where` names its origin in errors.

        Raises:
            UserError: the text is not such a plan.
        """
        try:
            values = json.loads(text)
            version = values.pop("version")
        except (ValueError, AttributeError, TypeError, KeyError, RecursionError) as error:
            raise UserError(f"{where}: not a quantization plan (JSON with a version); save one with --dry-run first") from error
        if type(version) is not int or version not in {1, _VERSION}:
            raise UserError(f"{where}: plan version {version!r:.40} cannot be read, only 1 to {_VERSION}; make the plan again")
        try:
            plan = _READER.validate_json(json.dumps(upgraded(values) if version == 1 else _without_reasons(values)))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise UserError(
                f"{where}: wrong or missing key in the plan: {place!r}: {first['msg']}; compare it with a fresh plan"
            ) from error
        plan._check(where)
        return plan

    def _check(self, where: str) -> None:
        """Raise a `UserError` if the plan contradicts itself."""
        for names in ([node.name for node in self.nodes], [tensor.name for tensor in self.tensors]):
            twice = next((name for name in names if names.count(name) > 1), None) if len(names) != len(set(names)) else None
            if twice is not None:
                raise UserError(f"{where}: the plan names {twice!r} twice; keep one of the two entries")
        for tensor in self.tensors:
            if tensor.low > tensor.high:
                raise UserError(f"{where}: the range of {tensor.name!r} ends below its beginning; swap low and high")
        for item in self.smoothing:
            if not all(factor > 0 for factor in item.factors):
                raise UserError(
                    f"{where}: the smoothing of {item.name!r} has a factor that is not positive; make the plan again"
                )
        for depthwise in self.equalization:
            if not all(factor > 0 for factor in (*depthwise.first, *depthwise.second)):
                raise UserError(
                    f"{where}: the equalization of {depthwise.name!r} has a factor that is not positive; make the plan again"
                )


def _without_reasons(values: Any) -> Any:
    """Return the values of a saved plan without the sentences, which are made from the causes."""
    if not isinstance(values.get("nodes"), list):
        return values
    nodes = [
        {key: node[key] for key in node if key != "reason"} if isinstance(node, dict) else node for node in values["nodes"]
    ]
    return {**values, "nodes": nodes}


_READER: TypeAdapter[Plan] = TypeAdapter(Plan)


def save_plan(plan: Plan, model: Path) -> Path:
    """Write the plan beside the model's file, as ``<stem>.plan.json``, and return its path."""
    path = model.with_suffix(".plan.json")
    with write_aside(path) as aside:
        aside.write_text(plan.to_json(), encoding="utf-8")
    return path


def load_plan(path: Path) -> Plan:
    """Read a plan from a file.

    Raises:
        UserError: the file cannot be read, or is not a plan.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: the plan cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a quantization plan (text in UTF-8); save one with --dry-run first") from error
    return Plan.from_json(text, where=str(path))
