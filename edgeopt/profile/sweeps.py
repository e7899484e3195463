"""Sweep: one model at several thread counts, batch sizes and sizes of any dynamic axis, interleaved.

    sweep(model, inputs, target=target, config=SweepConfig(threads=[1, 2], batch_sizes=[1, 8], axes={"sequence": [16, 64]}))

measures every combination and returns a `SweepResult` (`facts()` is JSON-able). All points are open at once and interleaved, so
a machine that warms up or slows down does so for all of them. For throughput see `edgeopt.profile.scenarios`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, PositiveInt

from edgeopt.batches import Batch, Batches
from edgeopt.config import Options, ThreadCount
from edgeopt.errors import DataError, RecipeError
from edgeopt.graph import files
from edgeopt.graph.signature import Signature
from edgeopt.lifetime import temporary_folder
from edgeopt.profile.analysis import Counted, count, latencies
from edgeopt.profile.axes import batch_axis, check_axes, resize
from edgeopt.profile.inputs import check_batches
from edgeopt.profile.measurement import Limits, patience_s, sample
from edgeopt.profile.result import Latency
from edgeopt.profile.stage import session_of
from edgeopt.targets.requests import Sent, greet, open_variant
from edgeopt.targets.runner import write_batches
from edgeopt.targets.target import Target
from edgeopt.targets.transports import connect
from edgeopt.verdict.order_statistics import Samples

_Shape = tuple[int, dict[str, int]]
"""Samples per run, and the sizes of the other axes."""


class SweepConfig(Options):
    """Which points are measured, and for how long."""

    threads: list[ThreadCount] = Field(default_factory=lambda: [1], min_length=1)
    """Thread counts (threads within an operator)."""
    batch_sizes: list[PositiveInt] = Field(default_factory=lambda: [1], min_length=1)
    """Batch sizes; the model's batch axis must be dynamic for more than one."""
    axes: dict[str, list[PositiveInt]] = Field(default_factory=dict)
    """Sizes of other dynamic axes, by their names in the model, such as ``{"sequence": [16, 64]}``."""
    seconds: float = Field(default=10.0, gt=0, le=3600)
    """Time limit of all points together in seconds, without loading."""
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    """Confidence of the intervals."""


@dataclass(frozen=True)
class SweepPoint:
    """One thread count, batch size and size of each axis that was swept."""

    threads: int
    batch_size: int
    sizes: dict[str, int]
    """Of the other axes in `SweepConfig.axes`."""
    n: int
    latency: list[Latency]
    throughput_per_s: float
    """Samples per second at the median latency."""


@dataclass(frozen=True)
class SweepResult:
    """All points, in the order of threads, then batch sizes, then the other axes."""

    target: str
    device: dict[str, Any]
    versions: dict[str, str]
    points: list[SweepPoint]
    warnings: list[str]

    def facts(self) -> dict[str, Any]:
        """Return everything as plain dicts and lists."""
        return asdict(self)


def sweep(model: Path, inputs: Batches, *, target: Target, config: SweepConfig = SweepConfig()) -> SweepResult:
    """Measure `model` at every combination of thread count, batch size and axis sizes of `config`.

    Args:
        model: an ONNX file.
        inputs: samples of equal shapes, as many as the largest batch size; along `config.axes` they are cropped or repeated.
        target: device and provider; its own thread count is not used.
        config: the points.

    Raises:
        DataError: there are too few samples, or the model does not take such batches.
        RecipeError: the time is too short for a run of every point, or an axis is not dynamic.
    """
    signature = files.signature(files.load(model))
    shapes = _shapes(config, signature, model=str(model))
    whole = {size: join(inputs, size, signature, model=str(model)) for size in {size for size, _ in shapes}}
    points = [(threads, place) for threads in config.threads for place in range(len(shapes))]
    names = [f"{threads}x{place}" for threads, place in points]
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder("edgeopt-sweep-"))
        connection = stack.enter_context(connect(target))
        there = connection.send(model)
        batches = [resize(whole[size], signature, sizes) for size, sizes in shapes]
        sent = [connection.send(_write(batch, folder / f"{place}.npz")) for place, batch in enumerate(batches)]
        runner = stack.enter_context(connection.start())
        hello = greet(runner, where=connection.where)
        for name, (threads, place) in zip(names, points, strict=True):
            session = session_of(target, threads=threads, shared=len(points) > 1)
            open_variant(runner, name, Sent(there, sent[place], session), timeout_s=patience_s(config.seconds))
        limits = Limits(time.monotonic() + config.seconds, max_runs=20_000)
        sampled = sample(runner, names, limits=limits, overhead_ns=hello.overhead_ns, enough=lambda _: False)
    counted = count(sampled)
    return SweepResult(
        target=target.name,
        device=dict(hello.device),
        versions=dict(hello.versions),
        points=[
            _point(threads, shapes[place], counted.samples(name), config.confidence)
            for name, (threads, place) in zip(names, points, strict=True)
        ],
        warnings=_warnings(counted, config.threads, hello.device.get("cores")),
    )


def _shapes(config: SweepConfig, signature: Signature, *, model: str) -> list[_Shape]:
    """Return every batch size with every combination of the other axes."""
    check_axes(list(config.axes), signature, model=model)
    first = batch_axis(signature)
    if first in config.axes and config.batch_sizes != [1]:
        raise RecipeError(f"sweep: '{first}' is the batch axis; give batch_sizes or axes.{first}, not both")
    axes = {name: sizes for name, sizes in config.axes.items() if name != first}
    others = [dict(zip(axes, sizes, strict=True)) for sizes in product(*axes.values())]
    return [(size, sizes) for size in config.axes.get(first or "", config.batch_sizes) for sizes in others]


def join(inputs: Batches, size: int, signature: Signature, *, model: str) -> Batch:
    """Join the first `size` samples into one batch along the batch axis of `signature`, wherever an input has it.

    Raises:
        DataError: there are fewer, they have different shapes, or `model` does not take them.
    """
    ones = list(islice(iter(inputs), size))
    check_batches(ones, signature, model=model)
    axis, joined = batch_axis(signature), {}
    for spec in signature.inputs:
        parts = [np.asarray(one[spec.name]) for one in ones]
        if axis is None or axis not in spec.shape or not parts:
            joined[spec.name] = parts[0] if parts else np.zeros(0)
            continue
        place = spec.shape.index(axis)
        if len({part.shape[:place] + part.shape[place + 1 :] for part in parts}) > 1:
            raise DataError(f"sweep: input '{spec.name}' has samples of different shapes; give samples of one shape")
        joined[spec.name] = np.take(np.concatenate(parts, axis=place), np.arange(min(size, _rows(parts, place))), axis=place)
        if joined[spec.name].shape[place] < size:
            raise DataError(f"sweep: batch size {size} needs as many samples; give more, or leave that size out")
    if not ones or (size > 1 and axis is None):
        raise DataError(f"sweep: batch size {size} needs samples and a dynamic batch axis; leave that size out")
    return joined


def _rows(parts: list[np.ndarray[Any, np.dtype[Any]]], place: int) -> int:
    return sum(part.shape[place] for part in parts)


def _write(batch: Batch, path: Path) -> Path:
    write_batches([batch], path)
    return path


def _point(threads: int, shape: _Shape, samples: Samples, confidence: float) -> SweepPoint:
    size, sizes = shape
    if not len(samples):
        point = f"{threads} threads × batch {size} {sizes or ''}".strip()
        raise RecipeError(f"sweep: no run of {point} ended in time; give it more seconds")
    given, _ = latencies(samples, confidence)
    return SweepPoint(threads, size, sizes, len(samples), given, throughput_per_s=size / float(np.median(samples)) * 1e3)


def _warnings(counted: Counted, threads: Sequence[int], cores: int | None) -> list[str]:
    found = []
    if counted.quiet_chunks * 2 < counted.chunks:
        found.append(f"the machine was busy in {counted.chunks - counted.quiet_chunks} of {counted.chunks} intervals")
    if cores and max(threads) > cores:
        found.append(f"{max(threads)} threads on {cores} cores: threads wait for each other")
    return found
