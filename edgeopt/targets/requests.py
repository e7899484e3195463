"""The runner's requests as functions, each with the type of its answer; ``deploy/runner/measure.py`` says what they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeopt.errors import MachineError
from edgeopt.targets.replies import ColdStart, Hello, Opened, Operators, Partitions, TimedBlocks, Written
from edgeopt.targets.runner import Runner
from edgeopt.targets.transports import Connection

PROTOCOL = 1
Block = tuple[str, int, int]
"""The name of a variant, the first of the batches that it runs on, and the number of runs."""
_PILOT_RUNS = 3


@dataclass(frozen=True)
class Sent:
    """A model and its inputs on the device, and how a session of it is opened (provider, options, threads, config)."""

    model: str
    inputs: str
    session: Mapping[str, Any]


def greet(runner: Runner, *, where: str) -> Hello:
    """Ask for the description of the device.

    Raises:
        MachineError: the runner there is of another protocol.
    """
    hello: Hello = runner.ask({"do": "hello"}, timeout_s=120.0)
    if hello.protocol != PROTOCOL:
        raise MachineError(f"{where}: its runner speaks protocol {hello.protocol}, this edgeopt {PROTOCOL}; copy it again")
    return hello


def open_variant(runner: Runner, name: str, sent: Sent, *, timeout_s: float = 600.0) -> Opened:
    """Load a model and run it once; it is called `name` from then on."""
    opened: Opened = runner.ask({"do": "open", "name": name, **asdict(sent)}, timeout_s=timeout_s)
    return opened


def close_variant(runner: Runner, name: str) -> None:
    """Forget the variant `name`."""
    runner.ask({"do": "close", "name": name})


def run_in_fresh_process(runner: Runner, sent: Sent, *, seconds: float, limit_s: float, answer_s: float) -> ColdStart:
    """Load a model and run it for `seconds` in a fresh process, which has `limit_s` for that and `answer_s` for its answer."""
    request = {"do": "cold", "seconds": seconds, "limit_s": limit_s, **asdict(sent)}
    started: ColdStart = runner.ask(request, timeout_s=limit_s + answer_s)
    return started


def time_blocks(
    runner: Runner, blocks: Sequence[Block], *, limit_s: float | None = None, timeout_s: float = 600.0
) -> TimedBlocks:
    """Time the runs of `blocks`, one after another; none begins after `limit_s`."""
    request: dict[str, Any] = {"do": "sample", "blocks": [list(block) for block in blocks]}
    timed: TimedBlocks = runner.ask(request if limit_s is None else {**request, "limit_s": limit_s}, timeout_s=timeout_s)
    return timed


def time_operators(runner: Runner, name: str, *, runs: int) -> Operators:
    """Return the time of each operator of the variant `name`."""
    operators: Operators = runner.ask({"do": "operators", "name": name, "runs": runs})
    return operators


def find_partitions(runner: Runner, name: str) -> Partitions:
    """Return which provider runs which node of the variant `name`."""
    partitions: Partitions = runner.ask({"do": "placement", "name": name})
    return partitions


def write_outputs(runner: Runner, name: str, *, timeout_s: float = 600.0) -> Written:
    """Let the runner write the outputs of the variant `name` to a file on the device."""
    written: Written = runner.ask({"do": "outputs", "name": name}, timeout_s=timeout_s)
    return written


@dataclass(frozen=True)
class Duration:
    """How long a model of unknown speed is timed: about `seconds`, within these numbers of runs."""

    seconds: float
    fewest: int
    most: int


def time_alone(
    connection: Connection, runner: Runner, files: tuple[Path, Path], session: Mapping[str, Any], duration: Duration
) -> list[float]:
    """Return the time of each run in ns of one model that is sent, opened, timed and forgotten.

    Args:
        connection: where it is sent.
        runner: runs it.
        files: the model, and the .npz file of its inputs (`write_batches`).
        session: how it is opened.
        duration: how long it is timed, after three runs that tell how fast it is.
    """
    name = "alone"
    open_variant(runner, name, Sent(connection.send(files[0]), connection.send(files[1]), session))
    try:
        [[_, pilot, *_]] = time_blocks(runner, [(name, 0, _PILOT_RUNS)]).blocks
        runs = max(duration.fewest, min(duration.most, int(duration.seconds * 1e9 / max(1, min(pilot)))))
        [[_, times, *_]] = time_blocks(runner, [(name, 0, runs)]).blocks
    finally:
        close_variant(runner, name)
    return times
