"""A calibration cache: statistics in a file, taken again only for the very model, data, options and versions they are of.

onnxruntime's own cache is a list of ranges that any model takes. Here the key is in the file, and an error names what differs.
While a pass runs, its state is written to ``<cache>.part`` at intervals; a killed pass resumes from there.
"""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgeopt import progress
from edgeopt.batches import Batches
from edgeopt.data.samples import SampleBatches
from edgeopt.errors import DataError
from edgeopt.graph import files
from edgeopt.quantize.calibrate.calibrator import Observations, Task, advance_all, plan_turns, start, whole
from edgeopt.quantize.calibrate.shards import shard_states
from edgeopt.quantize.calibrate.stored import Key, difference, read_progress, resumed, write_progress

EVERY = 64
"""Batches between two writings of the state."""


def through_cache(task: Task, batches: Batches, path: Path) -> Observations:
    """Return the observations in the cache at `path`, or make them and write it.

    Raises:
        DataError: the cache is of something else, or not a whole file; the message says what differs.
        IntegrityError: the cache is damaged.
    """
    key = cache_key(task, batches)
    if path.is_file():
        stored, state = read_progress(path)
        if reason := difference(stored, key):
            raise DataError(f"{path}: the calibration cache is of {reason}; delete it, or name another file")
        progress.note(f"calibration: {state.samples} samples from the cache {path}")
        return whole(task, state)
    if task.config.jobs > 1 and len(batches) > 1:
        state = shard_states(task, batches, keep=(path, key))
    else:
        part = path.with_name(f"{path.name}.part")
        state = resumed(part, key) or start(task, plan_turns(task, batches))
        advance_all(task, batches, state, save=lambda state: write_progress(part, key, state), every=EVERY)
        part.unlink(missing_ok=True)
    write_progress(path, key, state)
    return whole(task, state)


def cache_key(task: Task, batches: Batches) -> Key:
    """Return everything the statistics depend on; processes, threads and memory do not change them."""
    observed = json.dumps([list(task.tensors), dict(task.channels)], sort_keys=True)
    return {
        "model": model_digest(task.model),
        "data": data_digest(batches),
        "options": {
            "histograms": task.config.listed_histograms,
            "momentum": task.config.momentum,
            "aside": len(task.aside),
            "tensors": len(task.tensors),
            "observed": hashlib.sha256(observed.encode()).hexdigest(),
        },
        "versions": {name: version(name) for name in ("edgeopt", "onnxruntime", "numpy")},
    }


def model_digest(model: ir.Model) -> str:
    """Return the SHA-256 of a model in memory, of any size."""
    shown = files.structure(model, smallest=0, inputs=False)
    del shown.graph.value_info[:]
    digest = hashlib.sha256(shown.SerializeToString(deterministic=True))
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if tensor is not None:
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            digest.update(tensor.tobytes() if tensor.dtype.bitwidth < 8 else np.ascontiguousarray(tensor.numpy()).tobytes())
    return digest.hexdigest()


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
