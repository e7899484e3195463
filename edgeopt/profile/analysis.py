"""Turn chunks of samples into figures: counted runs, load of the machine, intervals. Pure: same samples, same figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeopt.profile.measurement import Chunk, Sampled
from edgeopt.profile.ratio import decide, ratio_interval
from edgeopt.profile.result import Comparison, Latency, MachineLoad, Withheld
from edgeopt.profile.steady import find_steady
from edgeopt.targets.replies import Noise
from edgeopt.verdict.order_statistics import Samples, fewest_samples, quantile_interval

STATISTICS: Mapping[str, float] = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}

_BUSY_CORES = 0.25
_STOLEN_SHARE = 0.02
_SWITCHES_PER_S = 30.0
_FEWEST_ROUNDS = 12
_SHORTEST_S = 0.1


@dataclass(frozen=True)
class Counted:
    """The counted runs after warm-up: for each variant one array (ms) per round."""

    rounds: Mapping[str, list[Samples]]
    warmup_runs: Mapping[str, int]
    steady: Mapping[str, bool]
    quiet_chunks: int
    chunks: int
    cpu_rounds: Mapping[str, list[Samples]]
    """As `rounds`, processor time of the calling thread; empty where the device does not report it."""

    def own(self, name: str) -> Samples | None:
        """Return the processor time of all runs of variant `name`, in order; None: not reported by the device."""
        blocks = self.cpu_rounds.get(name)
        return np.concatenate(blocks) if blocks else None

    def samples(self, name: str) -> Samples:
        """Return all runs of variant `name`, in order."""
        blocks = self.rounds[name]
        return np.concatenate(blocks) if blocks else np.array([], dtype=np.float64)


def count(sampled: Sampled) -> Counted:
    """Remove warm-up, first runs after a change of variant, and disturbed rounds if enough quiet ones remain."""
    chunk_of_round = [number for number, chunk in enumerate(sampled.chunks) for _ in chunk.blocks[sampled.names[0]]]
    skip = 1 if len(sampled.names) > 1 else 0
    rounds = {name: [block[skip:] for chunk in sampled.chunks for block in chunk.blocks[name]] for name in sampled.names}
    steady = {name: find_steady(np.concatenate(blocks)) for name, blocks in rounds.items()}
    start = max(_round_of(rounds[name], steady[name].start) for name in sampled.names)
    quiet = [not is_busy(chunk.noise) for chunk in sampled.chunks]
    kept = range(start, len(chunk_of_round))
    undisturbed = [turn for turn in kept if quiet[chunk_of_round[turn]]]
    if len(undisturbed) >= max(_FEWEST_ROUNDS, len(kept) / 4):
        kept_turns: Sequence[int] = undisturbed
    else:
        kept_turns = kept
    return Counted(
        rounds={name: [blocks[turn] for turn in kept_turns] for name, blocks in rounds.items()},
        warmup_runs={name: sum(len(block) for block in blocks[:start]) for name, blocks in rounds.items()},
        steady={name: found.reached for name, found in steady.items()},
        quiet_chunks=sum(quiet),
        chunks=len(quiet),
        cpu_rounds=_cpu_rounds(sampled, kept_turns, skip),
    )


def _cpu_rounds(sampled: Sampled, turns: Sequence[int], skip: int) -> dict[str, list[Samples]]:
    found = {}
    for name in sampled.names:
        blocks = [block for chunk in sampled.chunks for block in chunk.cpu.get(name, [])]
        if turns and len(blocks) <= max(turns):
            return {}
        found[name] = [blocks[turn][skip:] for turn in turns]
    return found


def _round_of(blocks: Sequence[Samples], run: int) -> int:
    """Return the first round that begins at or after run number `run`."""
    begins = np.cumsum([0, *(len(block) for block in blocks)])
    return int(np.searchsorted(begins, run, side="left"))


def is_busy(noise: Noise) -> bool:
    """Return whether other processes notably used the machine while a chunk was taken."""
    if noise.wall_s < _SHORTEST_S:
        return False  # the system counts in ticks of 10 ms
    if noise.others_cores is None:  # as on Android, where programs cannot read the load
        return bool(noise.involuntary_switches > _SWITCHES_PER_S * noise.wall_s)
    return noise.others_cores > _BUSY_CORES or (noise.steal_share or 0.0) > _STOLEN_SHARE


def latencies(samples_ms: Samples, confidence: float) -> tuple[list[Latency], list[Withheld]]:
    """Return the quantiles with enough samples, and those withheld because of too few."""
    given: list[Latency] = []
    withheld: list[Withheld] = []
    for name, q in STATISTICS.items():
        interval = quantile_interval(samples_ms, q, confidence)
        if interval is None:
            withheld.append(Withheld(name, fewest_samples(q, (1 + confidence) / 2)))
        else:
            given.append(Latency(name, interval.value, interval.low, interval.high, confidence))
    return given, withheld


def compare(counted: Counted, a: str, b: str, *, confidence: float, margin: float, by_cpu: bool = False) -> Comparison:
    """Compare variant `b` with variant `a`, round by round; `by_cpu`: by processor time instead of by the clock."""
    series = counted.cpu_rounds if by_cpu else counted.rounds
    interval = ratio_interval(series[a], series[b], confidence)
    rounds, basis = len(series[a]), "processor time" if by_cpu else "clock"
    decision = decide(interval, margin)
    if interval is None:
        return Comparison(a, b, None, None, None, confidence, rounds, decision, basis)
    return Comparison(a, b, interval.value, interval.low, interval.high, confidence, rounds, decision, basis)


def conditions(chunks: Sequence[Chunk], counted: Counted) -> MachineLoad:
    """Sum up how quiet the machine was over all chunks."""
    wall_s = max(1e-9, sum(chunk.noise.wall_s for chunk in chunks))
    others = _mean(chunks, "others_cores", wall_s)
    steal = _mean(chunks, "steal_share", wall_s)
    first, last = chunks[0].state, chunks[-1].state
    energy = None if last.energy_uj is None or first.energy_uj is None else (last.energy_uj - first.energy_uj) / 1e6
    throttled = None if last.throttle_events is None else last.throttle_events - (first.throttle_events or 0.0)
    return MachineLoad(
        wall_s=wall_s,
        others_cores=others,
        steal_share=steal,
        involuntary_switches_per_s=sum(chunk.noise.involuntary_switches for chunk in chunks) / wall_s,
        quiet_chunks=counted.quiet_chunks,
        chunks=counted.chunks,
        frequency_mhz=last.frequency_mhz,
        temperature_c=last.temperature_c,
        throttle_events=throttled,
        energy_j=energy if energy is None or energy >= 0 else None,  # the counter wrapped around
        busy=counted.quiet_chunks * 2 < counted.chunks,
    )


def _mean(chunks: Sequence[Chunk], key: str, wall_s: float) -> float | None:
    known = [getattr(chunk.noise, key) * chunk.noise.wall_s for chunk in chunks if getattr(chunk.noise, key) is not None]
    return sum(known) / wall_s if known else None


def thin(samples_ms: Samples, most: int = 2000) -> tuple[list[float], bool]:
    """Return the samples, evenly spaced `most` of them if there are more, rounded to 0.1 µs; and whether some were left out."""
    thinned = len(samples_ms) > most
    chosen = samples_ms[np.linspace(0, len(samples_ms) - 1, most).astype(int)] if thinned else samples_ms
    return [round(float(value), 4) for value in chosen], thinned
