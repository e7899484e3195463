"""Times of small ONNX files on a target, through the runner that profiles models; kept in a file per device and versions."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt import progress
from edgeopt.batches import Batch
from edgeopt.errors import IntegrityError, MachineError
from edgeopt.files import write_json
from edgeopt.hashed_files import SEAL, check_seal, json_hash, sealed_json
from edgeopt.lifetime import temporary_folder
from edgeopt.targets.availability import require
from edgeopt.targets.requests import Duration, greet, time_alone
from edgeopt.targets.runner import Runner, write_batches
from edgeopt.targets.target import Target
from edgeopt.targets.transports import Connection, connect

_DURATION = Duration(0.15, fewest=9, most=2000)
_QUANTILE = 0.25
"""The time of a machine that is not disturbed; the median of a busy one is its neighbours'."""


@dataclass
class Table:
    """Times in ms by the signature of what ran, of one device with one set of versions.

    Attributes:
        path: its file.
        made_for: device, versions and session that the times hold for.
        times: the times.
    """

    path: Path
    made_for: Mapping[str, Any]
    times: dict[str, float] = field(default_factory=dict)

    @classmethod
    def open(cls, target: str, made_for: Mapping[str, Any]) -> Table:
        """Return the target's table; one that was made for another device or with other versions starts empty, with a note."""
        path = _folder() / f"{hashlib.sha256(target.encode()).hexdigest()[:16]}.json"
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            check_seal(path, stored.get(SEAL), json_hash(stored), advice="measured again")
            times = {str(key): float(value) for key, value in stored["times"].items()}
            if stored["made_for"] == json.loads(json.dumps(made_for)):
                return cls(path, made_for, times)
            progress.note(f"the latency table of {target} ({path}) is of another device or other versions: measured again")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass
        except IntegrityError as error:
            progress.note(str(error))
        return cls(path, made_for)

    def save(self) -> None:
        """Write the table."""
        write_json(self.path, sealed_json({"made_for": self.made_for, "times": self.times}))


class Bench:
    """Measures models on the connected target."""

    def __init__(self, connection: Connection, runner: Runner, target: Target, folder: Path, table: Table) -> None:
        self.connection, self.runner, self.target, self.folder, self.table = connection, runner, target, folder, table
        self.count = self.measured = 0

    def known_ms(self, key: str) -> float | None:
        """Return the time that the table has under `key`; None: it has to be measured."""
        return self.table.times.get(_name(key))

    def time_ms(self, model: Path, inputs: Batch, *, key: str | None = None) -> float:
        """Return the time of one run; known ones, by their `key`, are not measured again."""
        name = None if key is None else _name(key)
        if name is not None and name in self.table.times:
            return self.table.times[name]
        self.count += 1
        self.measured += 1
        batches = self.folder / f"inputs-{self.count}.npz"
        write_batches([inputs], batches)
        session = {**self.target.provider.session(), "threads": self.target.provider.threads}
        times = time_alone(self.connection, self.runner, (model, batches), session, _DURATION)
        found = float(np.quantile(times, _QUANTILE)) / 1e6
        if name is not None:
            self.table.times[name] = found
        return found

    def file(self, name: str) -> Path:
        """Return a path for a temporary model."""
        self.count += 1
        place = self.folder / f"{self.count}-{name}"
        place.mkdir()
        return place / "model.onnx"


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]


@contextmanager
def bench(target: Target) -> Iterator[Bench]:
    """Connect to `target` and yield a bench; what it measured is kept.

    Raises:
        MachineError: the target cannot be reached, or is an emulator, whose times mean nothing.
    """
    require(target)
    if target.device.emulated:
        raise MachineError(f"target '{target.name}' is an emulator: its latency means nothing; give --macs or --parameters")
    with temporary_folder("edgeopt-latency-") as folder, connect(target) as connection, connection.start() as runner:
        hello = greet(runner, where=connection.where)
        session = {**target.provider.session(), "threads": target.provider.threads}
        made_for = {"device": hello.device, "versions": hello.versions, "session": session}
        made = Bench(connection, runner, target, Path(folder), Table.open(target.name, made_for))
        try:
            yield made
        finally:
            made.table.save()


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "edgeopt" / "latency"
