"""Statistics as a file that others can read: safetensors, with how they came about as JSON in its header.

Of each observed tensor there are, T being its name behind "seen/" or, of the batches that were held aside, "aside/",
    T/moments          float64 [7]: count, minimum, maximum; the moving average's low, high, weight and batches
    T/histogram.bins   uint16, T/histogram.counts int64: the occupied bins (`histogram.py`) and how many values fell into them
    T/channels.low, T/channels.high, T/channels.total, T/channels.count: extremes, sums and number of values per channel
    T/rows, T/rows.state: sampled rows; their limit, step and number seen
as far as they were kept. The header's metadata is one entry `calibration`, JSON: `format`, `key` (what the statistics are of),
`state` (how far the pass came) and `sha256` (of all the others and the tensors; `edgeopt.hashed_files`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from edgeopt import progress
from edgeopt.batches import Array
from edgeopt.errors import DataError, IntegrityError
from edgeopt.files import write_aside
from edgeopt.hashed_files import SEAL, check_seal, tensors_hash
from edgeopt.quantize.calibrate.calibrator import Progress
from edgeopt.quantize.calibrate.histogram import Histogram
from edgeopt.quantize.calibrate.rows import RowSample
from edgeopt.quantize.calibrate.statistics import Channels, MovingAverage, TensorStatistics

FORMAT = "edgeopt.calibration/3"
_SEEN, _ASIDE = "seen/", "aside/"
Key = Mapping[str, Any]
_WHAT = {"model": "another model", "data": "other calibration data", "options": "other options", "versions": "other versions"}


def write_progress(path: Path, key: Key, state: Progress) -> None:
    """Write a pass, finished or not, atomically."""
    kept = {f"{_SEEN}{name}": item for name, item in state.statistics.items()}
    kept |= {f"{_ASIDE}{name}": item for name, item in state.aside.items()}
    tensors = {
        f"{name}/{part}": np.ascontiguousarray(array) for name, statistics in kept.items() for part, array in _parts(statistics)
    }
    momenta = {name: statistics.moving.momentum for name, statistics in kept.items()}
    axes = {name: item.channels.axis for name, item in kept.items() if item.channels is not None}
    position = {key: value for key, value in asdict(_without_statistics(state)).items() if key not in {"statistics", "aside"}}
    about = {"format": FORMAT, "key": key, "state": {**position, "momenta": momenta, "axes": axes}}
    about[SEAL] = _hash(tensors, about)
    metadata = {"calibration": json.dumps(about, sort_keys=True)}  # one entry: safetensors writes several in any order
    with write_aside(path) as aside:
        save_file(tensors, aside, metadata)


def read_progress(path: Path) -> tuple[Key, Progress]:
    """Return what statistics in the file at `path` are of, and the statistics.

    Raises:
        DataError: the file is not a calibration cache, or not a whole one.
        IntegrityError: its content is not what its hash says.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get("calibration", "{}"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
        if about.get("format") != FORMAT:
            raise DataError(f"{path}: not a calibration cache of the format {FORMAT}; name another file")
        check_seal(path, about.get(SEAL), _hash(arrays, about), advice="delete it, or name another file")
        key, state = about["key"], about["state"]
        momenta, axes = state.pop("momenta"), state.pop("axes")
        kept = {name: _statistics(name, arrays, momentum, axes.get(name)) for name, momentum in momenta.items()}
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: not a whole calibration cache; delete it, or name another file") from error
    seen, aside = (
        {name.removeprefix(kind): item for name, item in kept.items() if name.startswith(kind)} for kind in (_SEEN, _ASIDE)
    )
    return key, Progress(seen, aside=aside, **state)


def resumed(part: Path, key: Key) -> Progress | None:
    """Return the state of a killed pass, if there is one and it is of the same things; another's, or a damaged one, is left."""
    if not part.is_file():
        return None
    try:
        stored, state = read_progress(part)
    except (DataError, IntegrityError) as error:
        progress.note(f"calibration starts again, since what a stopped one left cannot be used: {error}")
        return None
    if reason := difference(stored, key):
        progress.note(f"calibration: {part} is of {reason}, so calibration starts again")
        return None
    progress.note(f"calibration goes on after {state.samples} samples, from {part}")
    return state


def difference(stored: Key, key: Key) -> str:
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


def _hash(tensors: Mapping[str, Array], about: Mapping[str, Any]) -> str:
    entries = {name: json.dumps(value, sort_keys=True) for name, value in about.items()}
    return tensors_hash(((name, array.dtype.str, array) for name, array in tensors.items()), entries)


def _without_statistics(state: Progress) -> Progress:
    return Progress({}, state.turn, state.samples, state.batches, state.done, state.turns)


def _parts(statistics: TensorStatistics) -> Iterator[tuple[str, Array]]:
    moving = statistics.moving
    numbers = (statistics.count, statistics.minimum, statistics.maximum, moving.low, moving.high, moving.weight, moving.batches)
    yield "moments", np.array(numbers, dtype=np.float64)
    if statistics.histogram is not None:
        bins = np.flatnonzero(statistics.histogram.counts)
        yield "histogram.bins", bins.astype(np.uint16)
        yield "histogram.counts", statistics.histogram.counts[bins]
    channels = statistics.channels
    if channels is not None and channels.low is not None and channels.high is not None and channels.total is not None:
        yield "channels.low", channels.low
        yield "channels.high", channels.high
        yield "channels.total", channels.total
        yield "channels.count", np.array([channels.count])
    if statistics.sample is not None:
        yield "rows", statistics.sample.rows
        yield "rows.state", np.array([statistics.sample.limit, statistics.sample.step, statistics.sample.seen])


def _statistics(name: str, arrays: Mapping[str, Array], momentum: float, axis: int | None) -> TensorStatistics:
    count, minimum, maximum, low, high, weight, batches = (float(value) for value in arrays[f"{name}/moments"])
    moving = MovingAverage(momentum, low, high, weight, int(batches))
    statistics = TensorStatistics(int(count), minimum, maximum, moving)
    if f"{name}/histogram.bins" in arrays:
        statistics.histogram = Histogram()
        statistics.histogram.counts[arrays[f"{name}/histogram.bins"]] = arrays[f"{name}/histogram.counts"]
    if axis is not None:
        statistics.channels = Channels(axis)
        if f"{name}/channels.low" in arrays:
            low_, high_, total = (arrays[f"{name}/channels.{part}"] for part in ("low", "high", "total"))
            statistics.channels = Channels(axis, low_, high_, total, int(arrays[f"{name}/channels.count"][0]))
    if f"{name}/rows" in arrays:
        limit, step, seen = (int(value) for value in arrays[f"{name}/rows.state"])
        statistics.sample = RowSample.restored(arrays[f"{name}/rows"], limit=limit, step=step, seen=seen)
    return statistics
