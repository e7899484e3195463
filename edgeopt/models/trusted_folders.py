"""Which saved folders were written here, with a builder that the user named, and so may name it again.

A model.json cannot name code (docs/concepts/trust.md). But a user who prunes ``nets:build`` and exports the folder has named
the builder before. So a note is kept outside of the folder, in the user's cache: this folder, with this very model.json, was
written by edgeopt, and its builder's module came from there. A copy of the folder has no note; then the builder is named again.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from edgeopt.errors import MachineError
from edgeopt.files import sha256, write_json
from edgeopt.user_code import home_of


def remember(folder: Path, file: Path, builder: str) -> None:
    """Note that the folder was written here and `file` in it names `builder`; where no note can be kept, none is."""
    note = _note(folder)
    try:
        write_json(note, _content(folder, file, builder))
        for other in note.parent.glob("*.json"):
            if not Path(json.loads(other.read_text(encoding="utf-8"))["folder"]).exists():
                other.unlink(missing_ok=True)
    except (MachineError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return  # a home that cannot be written to, or notes of another version: the builder is then named again


def is_remembered(folder: Path, file: Path, builder: str) -> bool:
    """Return whether the folder was written here with `builder` and is unchanged, and the builder has the same origin."""
    try:
        kept = json.loads(_note(folder).read_text(encoding="utf-8"))
        return bool(kept == _content(folder, file, builder))
    except (OSError, ValueError, RecursionError):
        return False


def _content(folder: Path, file: Path, builder: str) -> dict[str, str | None]:
    return {"folder": os.path.realpath(folder), "sha256": sha256(file), "builder": builder, "module": home_of(builder)}


def _note(folder: Path) -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    cache = Path(base) if base else Path.home() / ".cache"
    name = hashlib.sha256(os.path.realpath(folder).encode()).hexdigest()[:32]
    return cache / "edgeopt" / "builders" / f"{name}.json"
