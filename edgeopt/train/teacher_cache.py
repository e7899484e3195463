"""What a teacher said about each view of each sample, kept on disk so that later epochs need not run it.

A view is a pure function of seed, sample and number (`edgeopt.data.augment.views`), so its outputs can be kept: the first
epoch that
sees view v of sample i asks the teacher, later ones read a memory-mapped file. Each output is a file of float16 or float32
values, sample after sample; an index has (view, sample) → place. What is used the first time is what was written, rounded, so
that a training sees the same values whether they came from the teacher or from the disk.

    folder/
      index.safetensors  views × samples: number of tokens, place and CRC-32 of each entry, with the hash of all of it; written
                         by `flush`, after the values
      logits.bin         values

An entry whose bytes are no longer what was written is not used: the teacher is asked instead. Outputs of one row per token are
kept without their padding; all others must have one shape. Where the shape of one follows the length of the batch (logits of
answers' ends, of a decoder's or a recording's steps) nothing is kept.

A cache of one clean view with fresh augmentation would be inconsistent (the teacher would judge what the student does not
see), so there is none: the view's number is part of the place.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from edgeopt import progress
from edgeopt.errors import IntegrityError
from edgeopt.files import disk_errors, write_aside
from edgeopt.hashed_files import SEAL, check_seal, tensors_hash
from edgeopt.train.objective import TrainBatch
from edgeopt.train.teachers import Said, Teacher

_INDEX = "index.safetensors"


@dataclass(frozen=True)
class CacheLimits:
    """How much is kept.

    Attributes:
        max_bytes: once the files have this size, nothing more is written; those entries are computed each time.
        small: outputs with up to this many values per sample are kept as float32, larger ones as float16.
    """

    max_bytes: int = 4 * 2**30
    small: int = 64


@dataclass
class CacheFigures:
    """How often the teacher ran and how often the cache answered, in batches."""

    computed: int = 0
    read: int = 0


class CachedTeacher:
    """A teacher that is asked once per view of a sample."""

    def __init__(
        self, teacher: Teacher, folder: Path, *, key: str, size: tuple[int, int], limits: CacheLimits = CacheLimits()
    ) -> None:
        """Open or begin the cache in `folder`.

        Args:
            teacher: asked where the cache has no answer.
            folder: created if necessary; what another `key` wrote there is removed.
            key: hash of everything the outputs depend on: teacher, data, views, which outputs.
            size: number of views and of samples.
            limits: how much is kept.
        """
        self._teacher, self._folder, self._limits = teacher, folder, limits
        self._key = hashlib.sha256(json.dumps([key, size, limits.small]).encode()).hexdigest()
        self.figures = CacheFigures()
        self._place: NDArray[np.int64] = np.full(size, -1, np.int64)
        self._tokens: NDArray[np.int32] = np.zeros(size, np.int32)
        self._checksums: NDArray[np.uint32] = np.zeros(size, np.uint32)
        self._damaged = False
        self._shapes: dict[str, tuple[str, list[int], bool]] = {}
        self._full = False
        self._first_inputs: list[list[int]] = []
        self._fixed: set[str] = set()
        self._entries = 0
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._open()

    def said(self, batch: TrainBatch) -> Said:
        """Return what the teacher says of the batch, from the disk where all of it is there."""
        indices = list(batch.indices)
        if self._shapes and (self._place[batch.view, indices] >= 0).all() and self._shapes_known(batch):
            if (answers := self._read(batch)) is not None:
                self.figures.read += 1
                return answers
            if not self._damaged:
                self._damaged = True
                progress.note(
                    f"{self._folder}: damaged (answers of the teacher are not as they were written); it is asked again"
                )
        said = self._teacher.said(batch)
        self.figures.computed += 1
        kept = {
            **{f"o.{name}": value for name, value in said.outputs.items()},
            **{f"r.{name}": value for name, value in said.recorded.items()},
        }
        return self._write(kept, batch)

    def _shapes_known(self, batch: TrainBatch) -> bool:
        """Return whether outputs of the batch have the kept shapes: it is as long as the first, or that does not matter.

        One row of classes does not follow the length of a batch, unless there are as many as the first batch was long.
        """
        if self._first_inputs == _lengths_of(batch):
            return True
        long = {size for sizes in self._first_inputs for size in sizes}
        rows = [name for name, (_, shape, ragged) in self._shapes.items() if not ragged and (len(shape) > 1 or long & {*shape})]
        return self._fixed >= set(rows)

    def _note_shapes(self, arrays: Mapping[str, NDArray[Any]], batch: TrainBatch) -> None:
        """Note which outputs have the same shape whatever the length of the batch; keep nothing where one has not."""
        lengths = _lengths_of(batch)
        self._first_inputs = self._first_inputs or lengths
        for name, array in arrays.items():
            _, shape, ragged = self._shapes[name]
            if ragged:
                continue
            if list(array.shape[1:]) == shape:
                self._fixed |= {name} if lengths != self._first_inputs else set()
            elif not self._full:
                self._full = True
                self._place[:] = -1
                progress.note(f"teacher cache: '{name[2:]}' has another shape in each batch; the teacher runs for all of them")

    def flush(self) -> None:
        """Write the index of what is in the files, so that a later process finds it."""
        arrays: dict[str, NDArray[Any]] = {"place": self._place, "tokens": self._tokens, "checksums": self._checksums}
        metadata = {"meta": self._meta()}
        with disk_errors(self._folder), write_aside(self._folder / _INDEX) as aside:
            save_file(arrays, aside, {**metadata, SEAL: _index_hash(arrays, metadata)})

    # the files ------------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Read the index of an earlier process; begin again where there is none of this key."""
        index = self._folder / _INDEX
        try:
            with safe_open(index, framework="numpy") as found:
                metadata = found.metadata() or {}
                arrays = {name: found.get_tensor(name) for name in found.keys()}  # noqa: SIM118  (not a dict)
            recorded = _index_hash(arrays, metadata)
            check_seal(index, metadata.get(SEAL), recorded, advice="the teacher is asked again")
            meta = json.loads(metadata["meta"])
            if meta["key"] == self._key:
                self._place, self._tokens, self._checksums = (arrays[name] for name in ("place", "tokens", "checksums"))
                self._shapes = {name: (dtype, shape, ragged) for name, (dtype, shape, ragged) in meta["shapes"].items()}
                self._first_inputs, self._entries = meta["inputs"], int(meta["entries"])
                if all(self._path(name).stat().st_size >= self._size(name) for name in self._shapes):
                    return
        except FileNotFoundError:
            pass
        except IntegrityError as error:
            progress.note(str(error))
        except (SafetensorError, OSError, ValueError, KeyError, RecursionError):
            progress.note(f"{index}: damaged; the teacher is asked again")
        self._place[:], self._tokens[:], self._shapes, self._first_inputs, self._entries = -1, 0, {}, [], 0
        index.unlink(missing_ok=True)
        for old in self._folder.glob("*.bin"):
            old.unlink()

    def _meta(self) -> str:
        return json.dumps({"key": self._key, "shapes": self._shapes, "inputs": self._first_inputs, "entries": self._entries})

    def _path(self, name: str) -> Path:
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.bin"

    def _size(self, name: str) -> int:
        """Return the bytes that a file has at least: entries of one shape, or rows of tokens."""
        dtype, shape, ragged = self._shapes[name]
        rows = int(self._tokens[self._place >= 0].sum()) if ragged else self._entries
        return rows * int(np.prod(shape)) * np.dtype(dtype).itemsize

    def _lengths(self, batch: TrainBatch) -> list[int]:
        mask = batch.inputs.get("attention_mask")
        return [1] * len(batch) if mask is None else [int(length) for length in mask.sum(dim=1)]

    def _write(self, values: Mapping[str, Tensor], batch: TrainBatch) -> Said:
        """Append the batch's entries that are new; return the values as they are kept."""
        arrays = {name: self._stored(name, value, batch) for name, value in values.items()}
        self._note_shapes(arrays, batch)
        lengths = self._lengths(batch)
        new = [row for row, index in enumerate(batch.indices) if self._place[batch.view, index] < 0]
        if sum(self._size(name) for name in self._shapes) > self._limits.max_bytes and not self._full:
            self._full = True
            progress.note(f"teacher cache: {self._limits.max_bytes / 2**30:.1f} GiB are full; the teacher runs for the rest")
        if not self._full and new:
            tokens = int(self._tokens[self._place >= 0].sum())
            for name, array in arrays.items():
                self._append(name, array, new, lengths, tokens)
            for row in new:
                at = batch.view, batch.indices[row]
                parts = (self._part(name, arrays[name], row, lengths[row]) for name in sorted(arrays))
                self._place[at], self._tokens[at], self._checksums[at] = self._entries, lengths[row], _checksum(parts)
                self._entries += 1
            self._starts = None
        return _said({name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()}, batch)

    def _stored(self, name: str, value: Tensor, batch: TrainBatch) -> NDArray[Any]:
        array = value.detach().float().cpu().numpy()
        if name not in self._shapes:
            mask = batch.inputs.get("attention_mask")
            ragged = mask is not None and array.ndim >= 2 and array.shape[1] == mask.shape[1] and array.ndim > 2
            shape = list(array.shape[2:] if ragged else array.shape[1:])
            small = int(np.prod(shape)) <= self._limits.small
            self._shapes[name] = ("float32" if small else "float16", shape, ragged)
        return array.astype(self._shapes[name][0])

    def _part(self, name: str, array: NDArray[Any], row: int, length: int) -> NDArray[Any]:
        """Return what is kept of one row of an output."""
        return array[row, :length] if self._shapes[name][2] else array[row][None]

    def _append(self, name: str, array: NDArray[Any], rows: list[int], lengths: list[int], tokens: int) -> None:
        dtype, shape, ragged = self._shapes[name]
        parts = [self._part(name, array, row, lengths[row]) for row in rows]
        before = (tokens if ragged else self._entries) * int(np.prod(shape)) * np.dtype(dtype).itemsize
        with self._path(name).open("r+b" if self._path(name).exists() else "w+b") as file:
            file.seek(before)  # (what a killed process wrote after its last index is written over)
            for part in parts:
                file.write(np.ascontiguousarray(part).tobytes())

    _starts: NDArray[np.int64] | None = None

    def _token_starts(self) -> NDArray[np.int64]:
        """Return for each entry the number of tokens before it."""
        if self._starts is None:
            by_entry = np.zeros(self._entries + 1, np.int64)
            there = self._place >= 0
            by_entry[self._place[there] + 1] = self._tokens[there]
            self._starts = np.cumsum(by_entry)
        return self._starts

    def _read(self, batch: TrainBatch) -> Said | None:
        """Return the kept values of a batch; None if some are not what was written."""
        at = batch.view, list(batch.indices)
        kept = {name: self._kept(name, self._place[at]) for name in self._shapes}
        for row, recorded in enumerate(self._checksums[at]):
            if _checksum(kept[name][row] for name in sorted(kept)) != recorded:
                return None
        found = {}
        for name, parts in kept.items():
            longest = next(iter(batch.inputs.values())).shape[1] if self._shapes[name][2] else 1
            rows = np.zeros((len(parts), longest, *self._shapes[name][1]), np.float32)
            for row, part in zip(rows, parts, strict=True):
                row[: len(part)] = part
            found[name] = torch.from_numpy(rows if self._shapes[name][2] else rows[:, 0])
        return _said(found, batch)

    def _kept(self, name: str, places: NDArray[np.int64]) -> list[NDArray[Any]]:
        """Return what the file has at each place: [tokens, …], or [1, …] where an output has no axis of tokens."""
        dtype, shape, ragged = self._shapes[name]
        starts = self._token_starts() if ragged else np.arange(self._entries + 1)
        values = np.memmap(self._path(name), dtype=dtype, mode="r")
        table = values[: starts[-1] * max(1, int(np.prod(shape)))].reshape(-1, *shape)
        return [table[starts[place] : starts[place + 1]] for place in places]


def _lengths_of(batch: TrainBatch) -> list[list[int]]:
    """Return the shapes of a batch's inputs without the number of samples."""
    return [list(value.shape[1:]) for value in batch.inputs.values()]


def _checksum(parts: Iterable[NDArray[Any]]) -> int:
    total = 0
    for part in parts:
        total = zlib.crc32(part.tobytes(), total)
    return total


def _index_hash(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> str:
    return tensors_hash(((name, array.dtype.str, array) for name, array in arrays.items()), metadata)


def _said(values: Mapping[str, Tensor], batch: TrainBatch) -> Said:
    device = next(iter(batch.inputs.values())).device
    moved = {name: value.to(device) for name, value in values.items()}
    outputs, recorded = ({name[2:]: value for name, value in moved.items() if name.startswith(kind)} for kind in ("o.", "r."))
    return Said(outputs, recorded)
