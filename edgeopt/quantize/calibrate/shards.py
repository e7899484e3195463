"""Calibration shared out to processes: each observes a run of consecutive batches, and their statistics merge in order.

This process reads the batches and sends them; a worker runs the model and counts. Nothing is pickled, and a caller's script is
not imported again: a worker is a fresh interpreter that reads arrays from its standard input and leaves a file of statistics.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import asdict, dataclass, replace
from itertools import islice, pairwise
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from edgeopt import progress
from edgeopt.data.batches import Array, Batch, Batches
from edgeopt.errors import DataError, EdgeoptError, InternalError, MachineError, ModelError
from edgeopt.files import disk_errors, write_json
from edgeopt.graph import onnx_file
from edgeopt.graph.batch_axes import Axes, batch_axes, rows
from edgeopt.graph.onnx_file import Signature, TensorSpec
from edgeopt.quantize.calibrate.calibrator import (
    Observations,
    ObserveConfig,
    Progress,
    Task,
    advance_all,
    plan_turns,
    start,
    whole,
)
from edgeopt.quantize.calibrate.stored import Key, read_progress, write_progress

_WORKER = "from edgeopt.quantize.calibrate.shards import work; work()"
_END = b"end\n"


@dataclass(frozen=True)
class Shard:
    """A run of consecutive batches; `axes` are those that count their samples."""

    batches: Batches
    start: int
    stop: int
    axes: Axes

    def __len__(self) -> int:
        """Return the number of batches."""
        return self.stop - self.start

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches; those before the run are skipped, which costs time only if nothing can be sliced."""
        sliced = self._sliced()
        return iter(islice(self.batches, self.start, self.stop) if sliced is None else sliced)

    def _sliced(self) -> Batches | None:
        order = getattr(self.batches, "order", None)
        if isinstance(order, list):
            return replace(self.batches, order=order[self.start : self.stop])  # type: ignore[type-var]
        return self.batches[self.start : self.stop] if isinstance(self.batches, list | tuple) else None

    @property
    def first_sample(self) -> int:
        """The number of the first sample."""
        order = getattr(self.batches, "order", None)
        if isinstance(order, list):
            return sum(len(indices) for indices in order[: self.start])
        return sum(rows(batch, self.axes) for batch in islice(self.batches, self.start))


def observe_shards(task: Task, batches: Batches) -> Observations:
    """Observe in `task.config.jobs` processes; see `observe`."""
    return whole(task, shard_states(task, batches))


def shard_states(task: Task, batches: Batches, *, keep: tuple[Path, Key] | None = None) -> Progress:
    """Return the merged state of all shards.

    Args:
        task: what is observed, in how many processes; a memory limit is shared between them.
        batches: all of them.
        keep: the path of a cache beside which the workers keep their states, and its key; without it nothing can be resumed.

    Raises:
        DataError: as `observe`, with the number of the sample among all.
    """
    jobs = min(task.config.jobs, len(batches))
    cuts = [len(batches) * job // jobs for job in range(jobs + 1)]
    axes = batch_axes(task.signature)
    shards = [Shard(batches, cut, end, axes) for cut, end in pairwise(cuts)]
    limit = task.config.memory_limit_bytes
    config = replace(task.config, jobs=1, cache=None, memory_limit_bytes=limit and limit // jobs)
    turns = plan_turns(replace(task, config=config), batches)
    place = Path(tempfile.gettempdir())
    with disk_errors(place), tempfile.TemporaryDirectory(prefix="edgeopt-shards-") as scratch:
        onnx_file.save(task.model, Path(scratch) / "model.onnx")
        folder = keep[0].parent if keep else Path(scratch)
        parts = [folder / f"{keep[0].name if keep else 'shard'}.part-{job}-of-{jobs}" for job in range(jobs)]
        with progress.task(f"calibrate in {jobs} processes", total=len(batches)) as advance, ThreadPoolExecutor(jobs) as pool:
            runs = []
            for job, (shard, part) in enumerate(zip(shards, parts, strict=True)):
                about = Path(scratch) / f"job-{job}.json"  # (an argument may not be longer than 128 KiB)
                write_json(about, {**_described(task, config, shard), "turns": turns, "key": dict(keep[1]) if keep else {}})
                command = [sys.executable, "-P", "-c", _WORKER, str(Path(scratch) / "model.onnx"), str(about), str(part)]
                runs.append(pool.submit(copy_context().run, _drive, command, shard, advance))
            for run in runs:
                run.result()
        states = [read_progress(part)[1] for part in parts]
    for part in parts if keep else []:
        part.unlink()
    return merged(states)


def merged(states: list[Progress]) -> Progress:
    """Return one state out of those of consecutive shards, in their order."""
    first, *later = states
    for state in later:
        for name, statistics in state.statistics.items():
            first.statistics[name].merge(statistics)
        first.samples += state.samples
        first.batches += state.batches
    return first


def _described(task: Task, config: ObserveConfig, shard: Shard) -> dict[str, Any]:
    return {
        "tensors": list(task.tensors),
        "channels": dict(task.channels),
        "signature": asdict(task.signature),
        "config": {**asdict(config), "histograms": config.listed_histograms},
        "batches": len(shard),
        "first": shard.first_sample,
    }


def _drive(command: list[str], shard: Shard, advance: progress.Advance) -> None:
    """Run one worker and send it its batches, as often as it asks for them."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as worker:
        stdin, stdout, stderr = worker.stdin, worker.stdout, worker.stderr
        if stdin is None or stdout is None or stderr is None:
            raise InternalError("a calibration process has no pipes")
        try:
            for number, _ in enumerate(stdout):  # one line for each pass it wants
                for batch in shard:
                    _send(stdin, batch)
                    if number == 0:
                        advance()
                stdin.write(_END)
                stdin.flush()
            stdin.close()
        except BrokenPipeError:
            pass  # it ended early and says why
        except BaseException:
            worker.kill()
            raise
        message = stderr.read().decode(errors="replace").strip()
    if worker.returncode:
        raise _failure(worker.returncode, message.splitlines()[-1:] or ["no message"])


def _failure(code: int, last: list[str]) -> EdgeoptError:
    """Return the error that a worker tells of in its last line: its class and its message."""
    name, _, said = last[0].partition(" ")
    kind = {kind.__name__: kind for kind in (DataError, ModelError, MachineError)}.get(name)
    if kind is not None:
        return kind(said)
    if code == -signal.SIGKILL:
        return MachineError(
            "a calibration process was killed, perhaps for want of memory; use fewer --jobs or a --memory-limit"
        )
    return InternalError(f"a calibration process ended with code {code}: {last[0]}")


def _send(stream: IO[bytes], batch: Batch) -> None:
    arrays = {name: np.ascontiguousarray(array) for name, array in batch.items()}
    header = {name: [array.dtype.str, array.shape] for name, array in arrays.items()}
    stream.write(json.dumps(header).encode() + b"\n")
    for array in arrays.values():
        stream.write(array.tobytes())


class _Received:
    """The batches that the parent sends, once for each time they are gone through."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Batch]:
        sys.stdout.write("pass\n")
        sys.stdout.flush()
        while (line := sys.stdin.buffer.readline()) not in (_END, b""):
            yield {name: _received(dtype, shape) for name, (dtype, shape) in json.loads(line).items()}


def _received(dtype: str, shape: list[int]) -> Array:
    size = np.dtype(dtype).itemsize * prod(shape)
    data = bytearray(sys.stdin.buffer.read(size))
    if len(data) != size:
        sys.exit("the process that sends the batches has ended")
    return np.frombuffer(data, dtype).reshape(shape)


def work() -> None:
    """Be a worker: MODEL, DESCRIPTION and STATISTICS, three files, are the arguments, batches come on standard input."""
    model, about, part = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")), Path(sys.argv[3])
    signature = Signature(*(tuple(map(_spec, about["signature"][side])) for side in ("inputs", "outputs")))
    histograms = about["config"].pop("histograms")
    config = ObserveConfig(histograms if isinstance(histograms, bool) else frozenset(histograms), **about["config"])
    task = Task(onnx_file.load(model), about["tensors"], signature, about["channels"], config)
    batches, key = _Received(about["batches"]), about["key"]
    try:
        from edgeopt.quantize.calibrate.cache import resumed

        state = (resumed(part, key) if key else None) or start(task, about["turns"])
        save = (lambda state: write_progress(part, key, state)) if key else None
        advance_all(task, batches, state, first=about["first"], save=save)
        write_progress(part, key, state)
    except EdgeoptError as error:
        sys.stderr.write(f"\n{type(error).__name__} {error}\n")
        sys.stderr.flush()
        sys.exit(error.exit_code)


def _spec(values: dict[str, Any]) -> TensorSpec:
    return TensorSpec(values["name"], values["dtype"], tuple(values["shape"]), values["ranked"])
