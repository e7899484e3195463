"""Replies of a runner, as types: a reply of another form is refused when it arrives, not when it is used.

The runner may be an old copy on a board, another program, or an untrusted machine. See ``deploy/runner/measure.py`` for what
the fields mean; a reply may have more of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, NoReturn

from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError

from edgeopt.graph.executed import Executed

MOST_BYTES = 64 << 20
"""Longest line that is read from a runner, in bytes."""

_Count = Annotated[int, Field(ge=0)]
_Positive = Annotated[FiniteFloat, Field(ge=0)]
_Number = FiniteFloat | None
_Times = Annotated[list[_Positive], Field(min_length=1)]
_Block = tuple[str, _Times] | tuple[str, _Times, _Times]


class UnreadableReply(ValueError):  # noqa: N818  (it becomes an error that says where)
    """A line that is not a reply, such as the output of a crashing interpreter."""


class ReplyFormError(ValueError):
    """A reply, but not of the form that the request asks for; the message names the field."""


@dataclass(frozen=True)
class Told:
    """An error reported by the runner."""

    kind: str
    message: str


@dataclass(frozen=True)
class Hello:
    """Description of the device and its onnxruntime."""

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
    """Load of the machine during a measurement."""

    wall_s: _Positive
    own_cpu_s: _Number
    others_cores: _Number
    steal_share: _Number
    involuntary_switches: _Positive


@dataclass(frozen=True)
class State:
    """Counters of the system at one moment."""

    frequency_mhz: _Number
    temperature_c: _Number
    throttle_events: _Number
    energy_uj: _Number


@dataclass(frozen=True)
class TimedBlocks:
    """Timed runs, block by block: the variant's name, ns of each run, and perhaps the calling thread's ns in each."""

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
class OperatorRow(Executed):
    """One node of onnxruntime's profile, with one combination of shapes."""

    provider: str
    calls: _Positive
    us: _Positive


@dataclass(frozen=True)
class Operators:
    """Time of each operator."""

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
    """Nodes by provider."""

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
    "sample": TimedBlocks,
    "cold": ColdStart,
    "operators": Operators,
    "placement": Partitions,
    "outputs": Written,
}


@cache
def _adapter(form: Any) -> TypeAdapter[Any]:
    return TypeAdapter(form)


def parse_reply(line: bytes, request: Mapping[str, Any]) -> Any:
    """Return the answer to `request` as the type that belongs to it (a dict where there is none), or an error as `Told`.

    Raises:
        UnreadableReply: the line is not a JSON object.
        ReplyFormError: its contents do not answer `request`.
    """
    if len(line) > MOST_BYTES:
        raise UnreadableReply(f"the reply is a line of more than {MOST_BYTES >> 20} MiB")
    try:
        reply = json.loads(line.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, nested too deeply
        raise UnreadableReply(f"unreadable reply {line[:80]!r}") from error
    if isinstance(reply, dict) and reply.keys() >= {"error"}:
        return _checked(Told, reply["error"], "error")
    if not isinstance(reply, dict) or "ok" not in reply:
        raise ReplyFormError(f"neither 'ok' nor 'error' in {line[:80]!r}")
    return as_answer(reply["ok"], request)


def as_answer(value: Any, request: Mapping[str, Any]) -> Any:
    """Return the JSON value of an answer to `request` as the type that belongs to it.

    Raises:
        ReplyFormError: it has another form.
    """
    answer = _checked(_FORMS.get(request["do"], dict[str, Any]), value, f"reply to '{request['do']}'")
    if isinstance(answer, TimedBlocks):
        _check_names(answer, {str(name) for name, *_ in request["blocks"]})
    return answer


def _checked(form: Any, value: Any, what: str) -> Any:
    try:
        return _adapter(form).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ReplyFormError(f"{what}{f', {place[:80]}' if place else ''}: {first['msg']}") from error


def _check_names(answer: TimedBlocks, asked: set[str]) -> None:
    for name, *_ in answer.blocks:
        if name not in asked:
            raise ReplyFormError(f"reply to 'sample', blocks: times of {name[:80]!r}, which was not requested")


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")
