"""A calibration cache: statistics in a file, taken again only for the very model, data, options and versions they are of.

onnxruntime's own cache is a list of ranges that any model takes. Here the key is in the file, and what differs is said.
While a pass runs, its state is written to ``<cache>.part`` every so often; a killed pass goes on from there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx

from edgeopt import progress
from edgeopt.data.batches import Batches
from edgeopt.data.samples import SampleBatches
from edgeopt.errors import DataError, IntegrityError
from edgeopt.quantize.calibrate.calibrator import Observations, Progress, Task, advance_all, plan_turns, start, whole
from edgeopt.quantize.calibrate.stored import Key, read_progress, write_progress

EVERY = 64
"""Batches between two writings of the state."""
_WHAT = {"model": "another model", "data": "other calibration data", "options": "other options", "versions": "other versions"}


def through_cache(task: Task, batches: Batches, path: Path) -> Observations:
    """Return the observations in the cache at `path`, or make them and write it.

    Raises:
        DataError: the cache is of something else, or not a whole file; the message says what differs.
        IntegrityError: the cache is damaged.
    """
    key = cache_key(task, batches)
    if path.is_file():
        stored, state = read_progress(path)
        if reason := _difference(stored, key):
            raise DataError(f"{path}: the calibration cache is of {reason}; delete it, or name another file")
        progress.note(f"calibration: {state.samples} samples from the cache {path}")
        return whole(task, state)
    if task.config.jobs > 1 and len(batches) > 1:
        from edgeopt.quantize.calibrate.shards import shard_states

        state = shard_states(task, batches, keep=(path, key))
    else:
        part = path.with_name(f"{path.name}.part")
        state = resumed(part, key) or start(task, plan_turns(task, batches))
        advance_all(task, batches, state, save=lambda state: write_progress(part, key, state), every=EVERY)
        part.unlink(missing_ok=True)
    write_progress(path, key, state)
    return whole(task, state)


def resumed(part: Path, key: Key) -> Progress | None:
    """Return the state of a killed pass, if there is one and it is of the same things; another's, or a damaged one, is left."""
    if not part.is_file():
        return None
    try:
        stored, state = read_progress(part)
    except (DataError, IntegrityError) as error:
        progress.note(f"calibration starts again, since what a stopped one left cannot be used: {error}")
        return None
    if reason := _difference(stored, key):
        progress.note(f"calibration: {part} is of {reason}, so calibration starts anew")
        return None
    progress.note(f"calibration goes on after {state.samples} samples, from {part}")
    return state


def cache_key(task: Task, batches: Batches) -> Key:
    """Return everything the statistics depend on; processes, threads and memory do not change them."""
    observed = json.dumps([list(task.tensors), dict(task.channels)], sort_keys=True)
    return {
        "model": model_digest(task.model),
        "data": data_digest(batches),
        "options": {
            "histograms": task.config.listed_histograms,
            "momentum": task.config.momentum,
            "tensors": len(task.tensors),
            "observed": hashlib.sha256(observed.encode()).hexdigest(),
        },
        "versions": {name: version(name) for name in ("edgeopt", "onnxruntime", "numpy")},
    }


def _difference(stored: Key, key: Key) -> str:
    """Say in what two keys differ, or nothing."""
    for name, meaning in _WHAT.items():
        had, wants = stored.get(name), key[name]
        if had == wants:
            continue
        if isinstance(had, dict) and isinstance(wants, dict):
            changed = [item for item in sorted({*had, *wants}) if had.get(item) != wants.get(item)]
            return f"{meaning}: " + ", ".join(f"{item} {had.get(item)} there, {wants.get(item)} here" for item in changed)
        return f"{meaning} (SHA-256 {str(had)[:12]}… there, {str(wants)[:12]}… here)"
    return ""


def model_digest(model: onnx.ModelProto) -> str:
    """Return the SHA-256 of a model in memory, of any size."""
    digest = hashlib.sha256()
    for part in _model_parts(model):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def _model_parts(model: onnx.ModelProto) -> Iterator[bytes]:
    graph = model.graph
    for group in (model.opset_import, model.functions, graph.input, graph.output, graph.node, graph.initializer):
        yield str(len(group)).encode()
        for message in group:
            yield message.SerializeToString(deterministic=True)


def data_digest(batches: Batches) -> str:
    """Return the SHA-256 of the batches: from what their files' hashes say, else from every value."""
    if isinstance(batches, SampleBatches):
        return hashlib.sha256(f"{batches.samples.digest}{batches.order}".encode()).hexdigest()
    digest = hashlib.sha256()
    for batch in batches:
        for name in sorted(batch):
            array = np.ascontiguousarray(batch[name])
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.data if array.size else b"")
    return digest.hexdigest()
