"""Runs and artifacts: content-addressed, written to temporary files and renamed, verified by hash when read.

    RUN/
      .lock, .lock-holder          held by the process that works on the run, and the number of that process
      artifacts/STAGE-KEY/         a finished stage: its files and artifact.json, never changed again
      work/STAGE-KEY/              an unfinished one: output/ (emptied at each start) and checkpoint/ (kept, to resume from)
      damaged/                     artifacts whose files no longer have their recorded hash

A stage's key is the SHA-256 of its ingredients: its resolved configuration, the digests of its inputs, the code of the stage
and the versions of the libraries that matter. An artifact's digest is the SHA-256 of its files' names and hashes: two runs
that produce the same bytes have the same digest.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeopt.errors import IntegrityError
from edgeopt.files import disk_errors, exclusive, flush, sha256, write_json

_RECORD = "artifact.json"
_KEY_DIGITS = 16


@dataclass(frozen=True)
class Artifact:
    """Result of a finished stage.

    Attributes:
        stage: the stage's name.
        key: hexadecimal SHA-256 of its ingredients.
        folder: where its files are.
        digest: hexadecimal SHA-256 over its files.
        ingredients: what the key is the hash of.
        facts: the stage's result as JSON.
        seconds: how long the stage ran.
        files: SHA-256 of each file, by its path below `folder`.
    """

    stage: str
    key: str
    folder: Path
    digest: str
    ingredients: Mapping[str, Any]
    facts: Mapping[str, Any]
    seconds: float
    files: Mapping[str, str]


@dataclass(frozen=True)
class Workspace:
    """Folders that a stage writes to: `output` becomes the artifact, `checkpoint` survives a kill."""

    output: Path
    checkpoint: Path


class Store:
    """The artifacts of one run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the run folder for this process; while another process holds it, wait and say so."""
        with exclusive(self.folder / ".lock", str(self.folder)):
            yield

    @contextmanager
    def stage_lock(self, stage: str, key: str) -> Iterator[None]:
        """Lock one artifact for this process, where several runs share the store: the first one makes it, the others wait."""
        with self.named_lock(f"{stage}-{key[:_KEY_DIGITS]}"):
            yield

    @contextmanager
    def named_lock(self, name: str | None) -> Iterator[None]:
        """Lock something that several runs share; None: nothing."""
        if name is None:
            yield
            return
        with exclusive(self.folder / "locks" / name, f"{self.folder} ({name})"):
            yield

    def find(self, stage: str, key: str) -> Artifact | None:
        """Return the finished artifact of `stage` with `key`, every file checked, or None if there is none.

        Raises:
            IntegrityError: a file is missing or its hash differs; the message names it.
        """
        folder = self._place("artifacts", stage, key)
        if not folder.is_dir():
            return None
        if not (folder / _RECORD).is_file():
            raise IntegrityError(f"{folder}: {_RECORD} is missing")
        artifact = _read(folder)
        damage = _damage(artifact)
        if damage:
            raise IntegrityError(f"{folder}: {damage}")
        return artifact

    def latest(self, stage: str) -> Artifact | None:
        """Return the newest artifact of `stage` without checking its files, or None; used to say what changed."""
        folders = [path.parent for path in self.folder.glob(f"artifacts/{stage}-{'?' * _KEY_DIGITS}/{_RECORD}")]
        if not folders:
            return None
        try:
            return _read(max(folders, key=lambda folder: folder.stat().st_mtime_ns))
        except IntegrityError:
            return None

    def set_aside(self, stage: str, key: str) -> Path:
        """Move a damaged artifact to ``damaged/``, so that its stage runs again; return its new folder."""
        place = self._place("artifacts", stage, key)
        aside = self.folder / "damaged" / f"{place.name}-{time.time_ns()}"
        with disk_errors(aside):
            aside.parent.mkdir(exist_ok=True)
            place.rename(aside)
        return aside

    def workspace(self, stage: str, key: str) -> Workspace:
        """Return the stage's workspace: an empty output folder and the checkpoint of an earlier attempt, if any."""
        folder = self._place("work", stage, key)
        workspace = Workspace(folder / "output", folder / "checkpoint")
        with disk_errors(folder):
            shutil.rmtree(workspace.output, ignore_errors=True)
            workspace.output.mkdir(parents=True)
            workspace.checkpoint.mkdir(exist_ok=True)
        return workspace

    def joined_workspace(self, stage: str, key: str, output: Path) -> Workspace:
        """Return a workspace for another process of the same stage: its own output, the same checkpoint."""
        return Workspace(output, self._place("work", stage, key) / "checkpoint")

    def finish(self, stage: str, ingredients: Mapping[str, Any], facts: Mapping[str, Any], seconds: float) -> Artifact:
        """Make the workspace's output the stage's artifact, in one atomic step."""
        key = key_of(ingredients)
        output = self._place("work", stage, key) / "output"
        files = _files(output)
        record = {
            "stage": stage,
            "key": key,
            "digest": _digest(files),
            "ingredients": ingredients,
            "facts": facts,
            "seconds": seconds,
            "files": files,
        }
        write_json(output / _RECORD, {**record, "record": key_of(record)})
        place = self._place("artifacts", stage, key)
        with disk_errors(place):
            for name in files:
                flush(output / name)
            place.parent.mkdir(parents=True, exist_ok=True)
            output.rename(place)
            flush(place.parent)
        shutil.rmtree(output.parent, ignore_errors=True)
        return _read(place)

    def _place(self, kind: str, stage: str, key: str) -> Path:
        return self.folder / kind / f"{stage}-{key[:_KEY_DIGITS]}"


def key_of(ingredients: Mapping[str, Any]) -> str:
    """Return the SHA-256 of `ingredients` as canonical JSON."""
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True, allow_nan=False).encode()).hexdigest()


def digest_of(folder: Path) -> str:
    """Return the `Artifact.digest` of a folder: over its files, without the record, which holds seconds."""
    return _digest(_files(folder))


def _files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of an artifact but its record, by its path below `folder`."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / _RECORD]
    return {str(path.relative_to(folder)): sha256(path) for path in paths}


def _digest(files: Mapping[str, str]) -> str:
    return hashlib.sha256("".join(f"{name} {files[name]}\n" for name in sorted(files)).encode()).hexdigest()


def _read(folder: Path) -> Artifact:
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        if record.pop("record") != key_of(record):
            raise ValueError("the record's hash differs")
        return Artifact(folder=folder, **record)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"{folder}: {_RECORD} is damaged (its SHA-256 is not the recorded one)") from error


def _damage(artifact: Artifact) -> str:
    for name, expected in artifact.files.items():
        path = artifact.folder / name
        if not path.is_file():
            return f"{name} is missing"
        if sha256(path) != expected:
            return f"{name} is damaged (its SHA-256 is not the recorded one)"
    return ""
