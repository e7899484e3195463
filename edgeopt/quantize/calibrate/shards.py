"""Calibration in several processes: each observes a run of consecutive batches, and their statistics merge in order.

This process reads the batches and sends them; a worker runs the model and counts. Nothing is pickled, and a caller's script is
not imported again: a worker is a fresh interpreter that reads arrays from its standard input and leaves a file of statistics.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import asdict, dataclass, replace
from itertools import islice, pairwise
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from edgeopt import lifetime, progress
from edgeopt.batches import Array, Batch, Batches
from edgeopt.errors import DataError, DiskFullError, EdgeoptError, InternalError, MachineError, ModelError
from edgeopt.files import disk_errors, write_json
from edgeopt.graph import files
from edgeopt.graph.batch_axes import Axes, batch_axes, rows
from edgeopt.graph.signature import Signature, TensorSpec
from edgeopt.lifetime import temporary_folder
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
from edgeopt.quantize.calibrate.samples import picked
from edgeopt.quantize.calibrate.stored import Key, read_progress, resumed, write_progress

_WORKER = "from edgeopt.quantize.calibrate.shards import work; work()"
_END = b"end\n"
_ENDING_S = 600.0  # a worker that has all batches may still be writing its statistics
_FAILED_S = 5.0


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
        return picked(self.batches, range(self.start, self.stop))

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
    with disk_errors(place), temporary_folder("edgeopt-shards-") as scratch:
        files.save(task.model, scratch / "model.onnx")
        folder = keep[0].parent if keep else scratch
        parts = [folder / f"{keep[0].name if keep else 'shard'}.part-{job}-of-{jobs}" for job in range(jobs)]
        commands = []
        for job, (shard, part) in enumerate(zip(shards, parts, strict=True)):
            about = scratch / f"job-{job}.json"  # (an argument may not be longer than 128 KiB)
            write_json(about, {**_described(task, config, shard), "turns": turns, "key": dict(keep[1]) if keep else {}})
            commands.append([sys.executable, "-P", "-c", _WORKER, str(scratch / "model.onnx"), str(about), str(part)])
        with progress.task(f"calibrate in {jobs} processes", total=len(batches)) as advance:
            _Workers(advance).run(commands, shards)
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
        for name, statistics in state.aside.items():
            if name in first.aside:
                first.aside[name].merge(statistics)
            else:
                first.aside[name] = statistics
        first.samples += state.samples
        first.batches += state.batches
    return first


def _described(task: Task, config: ObserveConfig, shard: Shard) -> dict[str, Any]:
    return {
        "tensors": list(task.tensors),
        "channels": dict(task.channels),
        "signature": asdict(task.signature),
        "config": {**asdict(config), "histograms": config.listed_histograms},
        "aside": [number - shard.start for number in sorted(task.aside) if shard.start <= number < shard.stop],
        "batches": len(shard),
        "first": shard.first_sample,
    }


class _Workers:
    """The calibration processes of one observation; when one fails, or this process is interrupted, all of them end."""

    def __init__(self, advance: progress.Advance) -> None:
        self._advance = advance
        self._lock = threading.Lock()
        self._running: list[subprocess.Popen[bytes]] = []
        self._stopped = False

    def run(self, commands: Sequence[list[str]], shards: Sequence[Shard]) -> None:
        """Run a worker per command, and send it the batches of its shard, as often as it asks for them."""
        with ThreadPoolExecutor(len(commands)) as pool:
            try:
                pairs = zip(commands, shards, strict=True)
                runs = [pool.submit(copy_context().run, self._drive, command, shard) for command, shard in pairs]
                _, waiting = wait(runs, return_when=FIRST_EXCEPTION)
                wait(waiting, timeout=_FAILED_S)  # so that the first of several bad samples is the one that is named
                ended = [run for run in runs if run.done()]
            finally:
                self._stop()
        for run in (*ended, *runs):  # a process that was stopped comes last: it is not the cause
            run.result()

    def _drive(self, command: list[str], shard: Shard) -> None:
        with tempfile.TemporaryFile() as log:
            worker = self._start(command, log)
            try:
                self._feed(worker, shard)
                lifetime.end(worker, grace_s=_ENDING_S)
            finally:
                self._close(worker)
            log.seek(0)
            said = log.read().decode(errors="replace").strip().splitlines() or ["no message"]
        if worker.returncode:
            raise _failure(worker.returncode, said[-1])

    def _start(self, command: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise InternalError("calibration was stopped")
            worker = lifetime.start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
            self._running.append(worker)
            return worker

    def _feed(self, worker: subprocess.Popen[bytes], shard: Shard) -> None:
        stdin, stdout = worker.stdin, worker.stdout
        if stdin is None or stdout is None:
            raise InternalError("a calibration process has no pipes")
        with contextlib.suppress(BrokenPipeError):  # it ended early and says why
            for number, _ in enumerate(stdout):  # one line for each pass it wants
                for batch in shard:
                    _send(stdin, batch)
                    if number == 0:
                        self._advance()
                stdin.write(_END)
                stdin.flush()
            stdin.close()

    def _close(self, worker: subprocess.Popen[bytes]) -> None:
        lifetime.end(worker, grace_s=0.0)
        for stream in (worker.stdin, worker.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # what it did not read any more
                    stream.close()

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            for worker in self._running:
                lifetime.end(worker, grace_s=0.0)


def _failure(code: int, last: str) -> EdgeoptError:
    """Return the error in a worker's last line: its class and its message."""
    name, _, said = last.partition(" ")
    kind = {kind.__name__: kind for kind in (DataError, ModelError, MachineError, DiskFullError)}.get(name)
    if kind is not None:
        return kind(said)
    if code == -signal.SIGKILL:
        return MachineError(
            "a calibration process was killed, perhaps because memory ran out; use fewer --jobs or a --memory-limit"
        )
    return InternalError(f"a calibration process ended with code {code}: {last}")


def _send(stream: IO[bytes], batch: Batch) -> None:
    arrays = {name: np.ascontiguousarray(array) for name, array in batch.items()}
    header = {name: [array.dtype.str, array.shape] for name, array in arrays.items()}
    stream.write(json.dumps(header).encode() + b"\n")
    for array in arrays.values():
        stream.write(array.tobytes())


class _Received:
    """The batches that the parent sends, once per iteration."""

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
    task = Task(files.load(model), about["tensors"], signature, about["channels"], config, frozenset(about["aside"]))
    batches, key = _Received(about["batches"]), about["key"]
    try:
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
