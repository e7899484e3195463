"""Throughput mode: the four load patterns of MLPerf Inference, each with its metric.

    measure_scenarios(model, inputs, target=target, config=ScenarioConfig(scenarios=["single-stream", "offline"]))

returns a `ScenarioResult` (`facts()` is JSON-able). The patterns and metrics are those of the MLPerf Inference rules
(github.com/mlcommons/inference_policies, inference_rules.adoc, "Scenarios" and the appendix on early stopping):

    single-stream   one sample per query, one after another               p90 latency, early-stopping estimate, ≥ 64 queries
    multi-stream    eight samples per query, one after another            p99 latency, early-stopping estimate, ≥ 662 queries
    offline         all samples at once                                   samples per second
    server          queries at random times (Poisson)                     largest rate whose p99 meets a latency bound

Early stopping. Of n queries, the t-th highest latency bounds the percentile p with confidence 99 % if
P(Binomial(n, 1 - p) <= t) <= 1 %; the largest such t gives the estimate, and where even t = 1 does not hold (n < 64 for p90,
662 for p99) there is none.

Offline runs every batch size of the configuration interleaved, and the best one counts. The server is one queue before one
model; its latencies are computed from measured service times by Lindley's recursion (wait' = max(0, wait + service - gap),
Proc. Cambridge Phil. Soc. 48, 1952) instead of being measured, which takes seconds; caches that cool down while
the server idles are not modelled.

These are the rules' patterns and metrics, not a submission: LoadGen is not used, and all scenarios share `seconds` instead of
600 each.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, PositiveInt

from edgeopt.batches import Batches
from edgeopt.config import Options
from edgeopt.errors import RecipeError
from edgeopt.graph import files
from edgeopt.lifetime import temporary_folder
from edgeopt.profile.analysis import count
from edgeopt.profile.axes import batch_axis
from edgeopt.profile.inputs import take_batches
from edgeopt.profile.measurement import Limits, patience_s, sample
from edgeopt.profile.stage import session_of
from edgeopt.profile.sweeps import join
from edgeopt.targets.requests import Sent, greet, open_variant
from edgeopt.targets.runner import write_batches
from edgeopt.targets.target import Target
from edgeopt.targets.transports import connect
from edgeopt.verdict.order_statistics import Samples, binomial_cdf, fewest_samples

Scenario = Literal["single-stream", "multi-stream", "offline", "server"]

_CONFIDENCE = 0.99
_STREAMS = 8
_SERVED = 20_000
_HALVINGS = 40
_MOST_SAMPLES = 64


class ScenarioConfig(Options):
    """Which MLPerf scenarios are measured, and for how long."""

    scenarios: list[Scenario] = Field(default=["single-stream", "multi-stream", "offline"], min_length=1)
    """Scenarios to measure."""
    seconds: float = Field(default=10.0, gt=0, le=3600)
    """Time limit of all scenarios together in seconds, without loading; MLPerf's rules ask for 600 each."""
    offline_batch_sizes: list[PositiveInt] = Field(default_factory=lambda: [1, 8, 32], min_length=1)
    """Batch sizes tried for offline; only 1 if the model's batch axis is fixed."""
    server_latency_ms: float | None = Field(default=None, gt=0)
    """Latency that 99 % of the server's queries must meet; required for the scenario server."""
    seed: int = 0
    """Seed of the server's arrival times."""


@dataclass(frozen=True)
class ScenarioFigure:
    """One scenario's metric; `value` is None where there are too few queries for it, or no rate meets the bound."""

    scenario: Scenario
    metric: str
    """`p90_ms`, `p99_ms`, or `samples_per_s`."""
    value: float | None
    queries: int
    samples_per_query: int
    needs_queries: int
    """The fewest queries that allow an estimate."""
    samples_per_s: float | None
    """Throughput at the mean latency."""
    how: str
    """How a query was run: batches, runs, computed arrivals."""


@dataclass(frozen=True)
class ScenarioResult:
    """All scenarios asked for, in that order."""

    target: str
    threads: int
    device: dict[str, Any]
    versions: dict[str, str]
    seconds: float
    figures: list[ScenarioFigure]
    warnings: list[str]

    def facts(self) -> dict[str, Any]:
        """Return everything as plain dicts and lists."""
        return asdict(self)


def early_stopping(latencies_ms: Samples, percentile: float) -> float | None:
    """Return MLPerf's early-stopping estimate of `percentile` (0.9 for p90) of shape-[n] latencies; None: too few."""
    n = len(latencies_ms)
    if n < fewest_samples(percentile, _CONFIDENCE):
        return None
    over = binomial_cdf(n, 1 - percentile)
    discarded = int(np.searchsorted(over, 1 - _CONFIDENCE, side="right")) - 1  # the largest t with P(B <= t) <= 1 %
    return float(np.sort(latencies_ms)[n - discarded])


def server_latencies(service_ms: Samples, rate_per_s: float, rng: np.random.Generator) -> Samples:
    """Return the latencies (wait + service, ms) of queries that come at random times, `rate_per_s` on average, to one queue."""
    gaps = rng.exponential(1e3 / rate_per_s, len(service_ms))
    steps = service_ms[:-1] - gaps[1:]
    walk = np.concatenate([[0.0], np.cumsum(steps)])
    waits = walk - np.minimum.accumulate(walk)  # Lindley's recursion, unrolled
    latencies: Samples = waits + service_ms
    return latencies


def server_rate(service_ms: Samples, bound_ms: float, seed: int) -> float | None:
    """Return the largest rate (per s) whose p99 estimate meets `bound_ms`; None: not even lone queries do."""
    service = np.random.default_rng(seed).choice(service_ms, _SERVED)

    def meets(rate: float) -> bool:
        estimate = early_stopping(server_latencies(service, rate, np.random.default_rng(seed + 1)), 0.99)
        return estimate is not None and estimate <= bound_ms

    busy = 1e3 / float(service_ms.mean())  # of what was measured: a single pause may be drawn several times or never
    low, high = busy * 1e-4, busy
    if not meets(low):
        return None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if meets(middle) else (low, middle)
    return low


def measure_scenarios(
    model: Path, inputs: Batches, *, target: Target, config: ScenarioConfig = ScenarioConfig()
) -> ScenarioResult:
    """Measure `model` in every scenario of `config` on `target`, with its own thread count; their runs are interleaved.

    Args:
        model: an ONNX file.
        inputs: samples of equal shapes; they are repeated where a scenario needs more.
        target: device, provider and threads; not an emulator, whose times mean nothing.
        config: the scenarios.

    Raises:
        DataError: the model does not take the samples.
        RecipeError: the target is an emulator, the server's bound is missing, or the time is too short.
    """
    if target.device.emulated:
        raise RecipeError(f"scenarios: target '{target.name}' is an emulator, whose times mean nothing; name a real device")
    if "server" in config.scenarios and config.server_latency_ms is None:
        raise RecipeError("scenarios: server needs a bound; set server_latency_ms")
    signature = files.signature(files.load(model))
    ones = take_batches(inputs, most=_MOST_SAMPLES)
    sizes = _batch_sizes(config, free=batch_axis(signature) is not None)
    repeated = [ones[number % len(ones)] for number in range(max(sizes))]
    batches = {size: join(repeated, size, signature, model=str(model)) for size in sizes}
    names = {size: f"batch {size}" for size in sizes}
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder("edgeopt-scenarios-"))
        connection = stack.enter_context(connect(target))
        there, session = connection.send(model), session_of(target, threads=target.provider.threads, shared=len(sizes) > 1)
        runner = stack.enter_context(connection.start())
        hello = greet(runner, where=connection.where)
        for size, batch in batches.items():
            write_batches([batch], folder / f"{size}.npz")
            sent = Sent(there, connection.send(folder / f"{size}.npz"), session)
            open_variant(runner, names[size], sent, timeout_s=patience_s(config.seconds))
        limits = Limits(time.monotonic() + config.seconds, max_runs=200_000)
        sampled = sample(runner, list(names.values()), limits=limits, overhead_ns=hello.overhead_ns, enough=lambda _: False)
    counted = count(sampled)
    runs = {size: counted.samples(name) for size, name in names.items()}
    if not all(len(times) for times in runs.values()):
        raise RecipeError("scenarios: a batch size had no steady run in time; give it more seconds")
    busy = counted.quiet_chunks * 2 < counted.chunks
    return ScenarioResult(
        target=target.name,
        threads=target.provider.threads,
        device=dict(hello.device),
        versions=dict(hello.versions),
        seconds=config.seconds,
        figures=[_figure(scenario, runs, config) for scenario in config.scenarios],
        warnings=["the machine was busy; measure again when it is idle"] if busy else [],
    )


def _batch_sizes(config: ScenarioConfig, *, free: bool) -> list[int]:
    if not free:
        return [1]
    wanted = {"multi-stream": [_STREAMS], "offline": config.offline_batch_sizes}
    return sorted({1, *(size for scenario in config.scenarios for size in wanted.get(scenario, []))})


def _figure(scenario: Scenario, runs: dict[int, Samples], config: ScenarioConfig) -> ScenarioFigure:
    one = runs[1]
    if scenario == "single-stream":
        return _streamed(scenario, one, 0.9, 1, "one run per query")
    if scenario == "multi-stream":
        if _STREAMS in runs:
            return _streamed(scenario, runs[_STREAMS], 0.99, _STREAMS, f"one run of batch {_STREAMS} per query")
        whole = one[: len(one) // _STREAMS * _STREAMS].reshape(-1, _STREAMS).sum(axis=1)
        return _streamed(scenario, whole, 0.99, _STREAMS, f"{_STREAMS} runs per query: the batch axis is fixed")
    if scenario == "offline":
        allowed = [size for size in config.offline_batch_sizes if size in runs] or [1]
        rates = {size: size / float(runs[size].mean()) * 1e3 for size in allowed}
        best = max(rates, key=rates.__getitem__)
        return ScenarioFigure(scenario, "samples_per_s", rates[best], len(runs[best]), best, 1, rates[best], f"batch {best}")
    rate = server_rate(one, config.server_latency_ms or 0.0, config.seed)
    how = f"p99 <= {config.server_latency_ms:g} ms, computed from {len(one):,} service times"
    return ScenarioFigure(scenario, "samples_per_s", rate, len(one), 1, fewest_samples(0.99, _CONFIDENCE), rate, how)


def _streamed(scenario: Scenario, latencies_ms: Samples, percentile: float, samples: int, how: str) -> ScenarioFigure:
    value = early_stopping(latencies_ms, percentile)
    rate = samples / float(latencies_ms.mean()) * 1e3 if len(latencies_ms) else None
    fewest = fewest_samples(percentile, _CONFIDENCE)
    return ScenarioFigure(scenario, f"p{percentile * 100:.0f}_ms", value, len(latencies_ms), samples, fewest, rate, how)
