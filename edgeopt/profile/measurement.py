"""Drive a runner: cold starts, then interleaved sampling until the time limit or until everything is decided.

Variants run interleaved in blocks of about 40 ms: long enough to fill the caches again and short enough that
whatever disturbs the machine disturbs all of them; the order is reversed every other round (A B, B A, …), which cancels a
linear trend. With several variants the first run of each block pays for the caches that the other one evicted and is not
counted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeopt import progress
from edgeopt.errors import MachineError
from edgeopt.targets.replies import Noise, State
from edgeopt.targets.requests import Block, Sent, run_in_fresh_process, time_blocks
from edgeopt.targets.runner import Runner
from edgeopt.verdict.order_statistics import Samples

Clock = Callable[[], float]

_BLOCK_MS = 40.0
_CHUNK_MS = 250.0
_PILOT_RUNS, _PILOT_S = 3, 60.0
_MOST_RUNS_A_BLOCK = 200
_LEAST_PATIENCE_S, _PATIENCE = 60.0, 6.0
_COLD_S, _ANSWER_S = 0.5, 30.0
_BLOCK_PATIENCE_S = 600.0  # a block that began before the limit is finished


@dataclass(frozen=True)
class Cold:
    """One cold start in a fresh process."""

    load_ms: float
    first_run_ms: float
    peak_rss_bytes: int | None
    model_rss_bytes: int | None
    memory: Sequence[tuple[str, float, int | None]] = ()
    """Tuples (moment, ns since the start of loading, resident bytes), in the order of time."""


@dataclass(frozen=True)
class Chunk:
    """Result of one request: the blocks of each variant (one array of ms per round), and the machine's load meanwhile."""

    blocks: Mapping[str, list[Samples]]
    noise: Noise
    state: State
    cpu: Mapping[str, list[Samples]] = field(default_factory=dict)
    """As `blocks`, processor time of the calling thread in ms; empty where the device does not report it."""


@dataclass
class Sampled:
    """All chunks so far."""

    names: Sequence[str]
    chunks: list[Chunk] = field(default_factory=list)

    @property
    def runs(self) -> int:
        """Return the number of runs of the variant with fewest."""
        return min(sum(len(block) for chunk in self.chunks for block in chunk.blocks[name]) for name in self.names)

    @property
    def rounds(self) -> int:
        """Return the number of rounds."""
        return sum(len(chunk.blocks[self.names[0]]) for chunk in self.chunks)


@dataclass(frozen=True)
class Limits:
    """When sampling ends."""

    deadline: float
    """Time of `time.monotonic()`."""
    max_runs: int


def patience_s(seconds: float) -> float:
    """Return the time limit for loading a model and running it once, within `seconds`, before it counts as endless."""
    return _LEAST_PATIENCE_S + _PATIENCE * seconds


def cold_start(runner: Runner, sent: Sent, *, limit_s: float = _LEAST_PATIENCE_S) -> Cold:
    """Load and run a model in a fresh process on the device.

    Raises:
        ModelError: it took longer than `limit_s`.
    """
    started = run_in_fresh_process(runner, sent, seconds=_COLD_S, limit_s=limit_s, answer_s=_ANSWER_S)
    peak, before = started.peak_rss_bytes, started.before_rss_bytes
    return Cold(
        load_ms=started.load_ns / 1e6,
        first_run_ms=started.first_run_ns / 1e6,
        peak_rss_bytes=peak,
        model_rss_bytes=None if peak is None or before is None else max(0, peak - before),
        memory=started.memory or (),
    )


def start_all_cold(
    runner: Runner,
    sent: Mapping[str, Sent],
    *,
    times: int,
    deadline: float,
    limit_s: float = _LEAST_PATIENCE_S,
    clock: Clock = time.monotonic,
) -> dict[str, list[Cold]]:
    """Start every variant cold, interleaved: at least once, and up to `times` before `deadline`."""
    found: dict[str, list[Cold]] = {name: [] for name in sent}
    with progress.task("cold starts", total=times * len(sent)) as advance:
        for turn in range(times):
            if turn and clock() >= deadline:
                break
            for name, one in sent.items():
                found[name].append(cold_start(runner, one, limit_s=limit_s))
                advance()
    return found


def sample(
    runner: Runner,
    names: Sequence[str],
    *,
    limits: Limits,
    overhead_ns: float,
    enough: Callable[[Sampled], bool],
    clock: Clock = time.monotonic,
) -> Sampled:
    """Time interleaved runs of the open variants `names` until the limits are reached or `enough` returns True.

    Raises:
        MachineError: a few runs of every model take longer than a minute.
    """
    sampled = Sampled(names)
    pilot = _take(runner, [(name, 0, _PILOT_RUNS) for name in names], overhead_ns, limit_s=_PILOT_S)
    if not pilot.blocks[names[0]]:
        raise MachineError(f"{_PILOT_RUNS} runs of every model took longer than {_PILOT_S:.0f} s; profile fewer models at once")
    sampled.chunks.append(pilot)
    run_ms = [float(np.median(pilot.blocks[name][0])) for name in names]
    runs = min(max(_PILOT_RUNS, math.ceil(_BLOCK_MS / max(run_ms))), _MOST_RUNS_A_BLOCK)
    round_ms = runs * sum(run_ms)
    rounds = max(1, int(_CHUNK_MS / round_ms))
    turn = 0
    with progress.task("timed runs") as advance:
        while clock() < limits.deadline and sampled.runs < limits.max_runs and not enough(sampled):
            left_s = max(0.0, limits.deadline - clock())
            plan = _plan(names, first=turn, rounds=rounds, runs=runs)
            sampled.chunks.append(_take(runner, plan, overhead_ns, limit_s=left_s))
            turn += rounds
            advance(rounds * runs * len(names))
    return sampled


def _plan(names: Sequence[str], *, first: int, rounds: int, runs: int) -> list[Block]:
    """Plan blocks [name, first batch, runs]; every round gives all variants the same batches, in alternating order."""
    blocks: list[Block] = []
    for turn in range(first, first + rounds):
        order = names if turn % 2 == 0 else list(reversed(names))
        blocks.extend((name, turn * runs, runs) for name in order)
    return blocks


def _take(runner: Runner, plan: Sequence[Block], overhead_ns: float, *, limit_s: float) -> Chunk:
    timed = time_blocks(runner, plan, limit_s=limit_s, timeout_s=limit_s + _BLOCK_PATIENCE_S)
    blocks: dict[str, list[Samples]] = {name: [] for name, _, _ in plan}
    cpu: dict[str, list[Samples]] = {name: [] for name in blocks}
    for name, nanoseconds, *own in timed.blocks:
        blocks[name].append(np.maximum(np.array(nanoseconds, dtype=np.float64) - overhead_ns, 1.0) / 1e6)
        cpu[name] += [np.array(part, dtype=np.float64) / 1e6 for part in own]
    whole = min(len(taken) for taken in blocks.values())  # the last round may be incomplete
    kept, kept_cpu = ({name: taken[:whole] for name, taken in series.items()} for series in (blocks, cpu))
    return Chunk(kept, timed.noise, timed.state, kept_cpu)
