"""Licences of models and data, as their folders state them: a model card's front matter, config.json, or a licence file.

A licence file names itself by its text, so the text is searched for the first words of the usual licences: the first one that
is found counts, since some name others further on (MPL-2.0 the GNU licences). A folder that is the root of a project (it holds
.git, pyproject.toml, package.json, …) states the licence of that project, not of a model in it: its licence file is not read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgeopt.documents import read_json
from edgeopt.errors import ModelError

_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "LICENCE.md", "COPYING")
_PROJECT = (".git", "pyproject.toml", "setup.py", "package.json", "Cargo.toml", "go.mod", "CMakeLists.txt")
_MARKS = (
    ("Apache-2.0", r"apache license\W+version 2\.0"),
    ("AGPL-3.0-only", r"gnu affero general public license\W+version 3"),
    ("LGPL-3.0-only", r"gnu lesser general public license\W+version 3"),
    ("LGPL-2.1-only", r"gnu lesser general public license\W+version 2\.1"),
    ("LGPL-2.0-only", r"gnu library general public license\W+version 2"),
    ("GPL-3.0-only", r"gnu general public license\W+version 3"),
    ("GPL-2.0-only", r"gnu general public license\W+version 2"),
    ("MPL-2.0", r"mozilla public license\W+version 2\.0"),
    ("CC-BY-NC-4.0", r"attribution-noncommercial 4\.0 international"),
    ("CC-BY-SA-4.0", r"attribution-sharealike 4\.0 international"),
    ("CC-BY-SA-3.0", r"attribution-sharealike 3\.0 unported"),
    ("CC-BY-4.0", r"(creative commons )?attribution 4\.0 international"),
    ("CC0-1.0", r"cc0 1\.0 universal"),
    ("Unlicense", r"this is free and unencumbered software"),
    ("MIT", r"permission is hereby granted, free of charge, to any person obtaining a copy"),
    ("ISC", r"permission to use, copy, modify, and(/or)? distribute this software for any purpose"),
    ("BSD-3-Clause", r"redistribution and use in source and binary forms(?s:.*)neither the names? "),
    ("BSD-2-Clause", r"redistribution and use in source and binary forms"),
)
_CARD_NAMES = {
    identifier.lower(): identifier
    for identifier in (*(name for name, _ in _MARKS), "BSD-3-Clause", "CC-BY-4.0", "CC-BY-SA-4.0", "CC0-1.0", "0BSD", "Zlib")
} | {"agpl-3.0": "AGPL-3.0-only", "gpl-3.0": "GPL-3.0-only", "gpl-2.0": "GPL-2.0-only", "lgpl-2.1": "LGPL-2.1-only"}
_LIMIT_BYTES = 200_000
UNSTATED = "not stated"
"""What a bundle says of a licence that is stated nowhere."""


@dataclass(frozen=True)
class Licence:
    """A licence, the file that states it, and the file of its text where there is one."""

    name: str
    stated_in: Path
    text: Path | None = None


@dataclass(frozen=True)
class Stated:
    """What the folders of a model and of its data state; None: nothing."""

    model: Licence | None = None
    data: Licence | None = None

    def names(self, *, model: str = "", data: str = "") -> dict[str, str]:
        """Return the licences by what they are of; `model` and `data` are known otherwise and count before the folders."""
        given = {"model": model, "data": "" if data == UNSTATED else data}
        stated = {"model": self.model, "data": self.data}
        return {of: given[of] or (found.name if found else UNSTATED) for of, found in stated.items()}

    @property
    def files(self) -> dict[str, Path]:
        """The text of the model's licence, by its path in a bundle."""
        return {"LICENSE": self.model.text} if self.model and self.model.text else {}


def stated_beside(model: str, data: str) -> Stated:
    """Return what the folders of a model (a file, a folder) and of a source of data state; other names state nothing."""
    return Stated(_beside(Path(model)), _beside(Path(data.partition("?")[0])))


def _beside(place: Path) -> Licence | None:
    if not place.exists():
        return None
    return licence_of(place if place.is_dir() else place.resolve().parent)


def licence_of(folder: Path) -> Licence | None:
    """Return the licence that a model's or data set's folder states, or None."""
    text = None if any((folder / name).exists() for name in _PROJECT) else licence_file(folder)
    for path, name in ((folder / "README.md", _of_card(folder / "README.md")), (folder / "config.json", _of_config(folder))):
        if name is not None:
            return Licence(name, path, text)
    named = None if text is None else recognised(_start(text))
    return Licence(named, text, text) if named is not None and text is not None else None


def licence_file(folder: Path) -> Path | None:
    """Return the licence file in `folder`, or None."""
    return next((folder / name for name in _FILES if (folder / name).is_file()), None)


def recognised(text: str) -> str | None:
    """Return the SPDX identifier of a licence by its text, or None."""
    words = " ".join(text.lower().split())
    found = [(place.start(), rank) for rank, (_, mark) in enumerate(_MARKS) if (place := re.search(mark, words))]
    return _MARKS[min(found)[1]][0] if found else None


def _of_card(card: Path) -> str | None:
    """Return what the front matter of a model card says, by its SPDX identifier where the hub's name has one."""
    if not card.is_file():
        return None
    front = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", _start(card), re.DOTALL)
    line = re.search(r"^license:[ \t]*(.+)$", front[1], re.MULTILINE) if front else None
    if line is None:
        return None
    name = line[1].strip().strip("'\"")
    if name == "other" and front is not None:
        named = re.search(r"^license_name:[ \t]*(.+)$", front[1], re.MULTILINE)
        name = named[1].strip().strip("'\"") if named else name
    return _CARD_NAMES.get(name.lower(), name) or None


def _of_config(folder: Path) -> str | None:
    if not (folder / "config.json").is_file():
        return None
    values = read_json(folder / "config.json", error=ModelError, what="a description of the model")
    said = values.get("license") if isinstance(values, dict) else None
    return _CARD_NAMES.get(said.lower(), said) if isinstance(said, str) and said else None


def _start(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_LIMIT_BYTES).decode("utf-8", "replace")
