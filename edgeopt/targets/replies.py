"""What a runner may reply, as types: a reply of another form is refused where it arrives, not where it is used.

The runner may be an old copy on a board, another program, or somebody else's machine. See ``deploy/runner/measure.py`` for what
the fields mean; a reply may have more of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, NoReturn

from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError

MOST_BYTES = 64 << 20
"""The longest line that is read from a runner."""

_Count = Annotated[int, Field(ge=0)]
_Positive = Annotated[FiniteFloat, Field(ge=0)]
_Number = FiniteFloat | None
_Times = Annotated[list[_Positive], Field(min_length=1)]
_Block = tuple[str, _Times] | tuple[str, _Times, _Times]
_Shapes = list[tuple[str, list[_Count]]]


class UnreadableReply(ValueError):  # noqa: N818  (it becomes an error that says where)
    """A line that is no reply at all, such as what a crashing interpreter prints."""


class ReplyFormError(ValueError):
    """A reply, but not of the form that the request asks for; the message names the field."""


@dataclass(frozen=True)
class Told:
    """An error that the runner tells of."""

    kind: str
    message: str


@dataclass(frozen=True)
class Hello:
    """What is there."""

    protocol: int
    versions: dict[str, str]
    providers: list[str]
    device: dict[str, Any]
    overhead_ns: _Positive


@dataclass(frozen=True)
class Opened:
    """A variant that was loaded and run once."""

    load_ns: _Positive
    first_run_ns: _Positive
    batches: Annotated[int, Field(ge=1)]
    providers: Annotated[list[str], Field(min_length=1)]
    call: str


@dataclass(frozen=True)
class Noise:
    """What else went on meanwhile."""

    wall_s: _Positive
    own_cpu_s: _Number
    others_cores: _Number
    steal_share: _Number
    involuntary_switches: _Positive


@dataclass(frozen=True)
class State:
    """What the system shows now."""

    frequency_mhz: _Number
    temperature_c: _Number
    throttle_events: _Number
    energy_uj: _Number


@dataclass(frozen=True)
class Sampled:
    """Timed runs."""

    blocks: list[_Block]
    noise: Noise
    state: State


@dataclass(frozen=True)
class ColdStart:
    """Load and first run in a fresh process."""

    load_ns: _Positive
    first_run_ns: _Positive
    before_rss_bytes: int | None
    peak_rss_bytes: int | None
    memory: list[tuple[str, _Positive, int | None]] | None = None


@dataclass(frozen=True)
class OperatorRow:
    """One node of onnxruntime's profile."""

    name: str
    op: str
    provider: str
    inputs: _Shapes
    outputs: _Shapes
    bytes: _Positive
    calls: _Positive
    us: _Positive


@dataclass(frozen=True)
class Operators:
    """Where the time goes."""

    runs: _Count
    operators: list[OperatorRow]
    arena_peak_bytes: int | None
    memory: list[tuple[str, str, FiniteFloat, int]] | None = None


@dataclass(frozen=True)
class Partition:
    """Nodes of one provider: name and operator."""

    provider: str
    nodes: list[tuple[str, str]]


@dataclass(frozen=True)
class Partitions:
    """What went to which provider."""

    partitions: list[Partition] | None


@dataclass(frozen=True)
class Written:
    """A file of outputs."""

    path: str
    count: _Count


_FORMS: Mapping[str, Any] = {
    "hello": Hello,
    "state": State,
    "open": Opened,
    "sample": Sampled,
    "cold": ColdStart,
    "operators": Operators,
    "placement": Partitions,
    "outputs": Written,
}


@cache
def _adapter(form: Any) -> TypeAdapter[Any]:
    return TypeAdapter(form)


def parse_reply(line: bytes, request: Mapping[str, Any]) -> tuple[Literal["ok", "error"], dict[str, Any]]:
    """Return ("ok", what the request asked for) or ("error", kind and message).

    Raises:
        UnreadableReply: the line is no JSON object.
        ReplyFormError: its contents are not what `request` asks for.
    """
    if len(line) > MOST_BYTES:
        raise UnreadableReply(f"it answered with a line of more than {MOST_BYTES >> 20} MiB")
    try:
        reply = json.loads(line.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, nested too deeply
        raise UnreadableReply(f"it answered {line[:80]!r}") from error
    if isinstance(reply, dict) and reply.keys() >= {"error"}:
        return "error", _checked(Told, reply["error"], "error")
    if not isinstance(reply, dict) or "ok" not in reply:
        raise ReplyFormError(f"neither 'ok' nor 'error' in {line[:80]!r}")
    answer = _checked(_FORMS.get(request["do"], dict[str, Any]), reply["ok"], f"reply to '{request['do']}'")
    if request["do"] == "sample":
        _check_names(answer, {str(name) for name, *_ in request["blocks"]})
    return "ok", answer


def _checked(form: Any, value: Any, what: str) -> dict[str, Any]:
    try:
        _adapter(form).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ReplyFormError(f"{what}{f', {place[:80]}' if place else ''}: {first['msg']}") from error
    found: dict[str, Any] = value
    return found


def _check_names(answer: Mapping[str, Any], asked: set[str]) -> None:
    for name, *_ in answer["blocks"]:
        if name not in asked:
            raise ReplyFormError(f"reply to 'sample', blocks: times of {name[:80]!r}, which was not asked for")


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")
