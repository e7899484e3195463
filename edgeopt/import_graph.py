"""Which of edgeopt's own files decide what a module computes, found without importing anything.

A stage's key holds the hash of its code. That code is every file the stage's module reaches: along import statements at any
depth of its functions, and

- through a lazy package (`edgeopt._lazy`), to the home of the name that is taken from it, and not to its other names;
- to a module that is named in a string, as for ``import_module(f"edgeopt.quantize.schemes.{name}")``;
- to what ``shipped("deploy") / "runner" / "measure.py"`` names in the top-level folders.

Imports under ``if TYPE_CHECKING:`` decide nothing and do not count. Of a module that is not edgeopt's (a builder that a recipe
names) its own file counts.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from edgeopt._folders import shipped

_ROOT = "edgeopt"
_PACKAGE = Path(__file__).parent
_FAMILIES = f"{_ROOT}.exporters"
_BY_VALUE = ("calibration_data", "deploy/targets")
"""Folders whose content reaches a key by other ways: the data's fingerprint, the target's values among the options."""

_IMPORT = re.compile(rf"^[ ]*(?:from {_ROOT}\b[\w.]* import (?:\([^)]*\)|[^(\n]+)|import {_ROOT}\b[\w., ]*)", re.MULTILINE)
_TYPES_ONLY = re.compile(r"^( *)if TYPE_CHECKING:\n((?:\1 +.*\n|\s*\n)*)", re.MULTILINE)
_NAMED = re.compile(rf"""["']({_ROOT}(?:\.\w+)+)(?:["':]|(\.)\{{)""")
_SHIPPED = re.compile(r"""\bshipped\(["'](\w+)["']\)((?:\s*/\s*["'][\w.-]+["'])*)""")


@dataclass(frozen=True)
class SourceFile:
    """What a file refers to.

    Attributes:
        path: the file.
        modules: names of the modules it imports, or names in strings.
        offers: for a lazy package, the module each of its names comes from.
        folders: files and folders that it takes from the top-level folders, such as ``deploy/runner/measure.py``.
    """

    path: Path
    modules: frozenset[str]
    offers: dict[str, str] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()


def code_hashes(*modules: str) -> dict[str, str]:
    """Return the SHA-256 of all code that `modules` reach, by package (``quantize``, ``deploy/runner``, ``files``)."""
    groups: dict[str, list[tuple[str, Path]]] = {}
    for name, path in sorted(reached(*modules).items()):
        groups.setdefault(_group(name), []).append((name, path))
    hashes = {}
    for group, files in groups.items():
        digest = hashlib.sha256()
        for name, path in files:
            digest.update(f"{name} {_hash(path)}\n".encode())
        hashes[group] = digest.hexdigest()
    return hashes


def reached(*modules: str) -> dict[str, Path]:
    """Return the files that `modules` reach, their own included: by module name, or by path in a top-level folder."""
    files: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _path(name) or _outside(name)
        if path is None or name in files:
            continue
        files[name] = path
        if name.split(".")[0] != _ROOT:
            continue
        source = read_source(path)
        waiting += [*source.modules, *_parents(name)]
        for folder in source.folders:
            for inner, file in _files_of(folder):
                if folder == "exporters" and file.suffix == ".py":
                    waiting.append(f"{_FAMILIES}.{file.stem}")
                else:
                    files[inner] = file
    return files


@cache
def read_source(path: Path) -> SourceFile:
    """Return what the source file `path` refers to."""
    text = path.read_text(encoding="utf-8")
    lazy = "_lazy import offer" in text
    types_only = "\n".join(match[2] for match in _TYPES_ONLY.finditer(text)) if lazy else ""
    offers = {name: module for module, name in _statements(types_only) if name}
    text = _TYPES_ONLY.sub("", text)
    named = {module for match in _NAMED.finditer(text) for module in _from_string(match[1], inside=bool(match[2]))}
    imported = {target for module, name in _statements(text) for target in _targets(module, name)}
    folders = {"/".join([match[1], *re.findall(r"[\w.-]+", match[2])]) for match in _SHIPPED.finditer(text)}
    return SourceFile(path, frozenset(imported | named), offers, frozenset(map(_place, folders)) - {""})


def _statements(text: str) -> Iterator[tuple[str, str]]:
    """Yield (module, name) for each ``from module import name`` about edgeopt in `text`, (module, "") for ``import module``."""
    for match in _IMPORT.finditer(text):
        (statement,) = ast.parse(match[0].strip()).body
        if isinstance(statement, ast.ImportFrom):
            yield from ((statement.module or "", alias.name) for alias in statement.names)
        elif isinstance(statement, ast.Import):
            yield from ((alias.name, "") for alias in statement.names if alias.name.split(".")[0] == _ROOT)


def _targets(module: str, name: str) -> list[str]:
    """Return the modules that ``from module import name`` runs."""
    if name and _path(f"{module}.{name}"):
        return [f"{module}.{name}"]
    path = _path(module)
    home = read_source(path).offers.get(name) if path and name and path.name == "__init__.py" else None
    return [module, *([home] if home else [])]


def _from_string(name: str, *, inside: bool) -> list[str]:
    """Return the module that a string names, or all modules of the package whose name a formatted string begins with."""
    path = _path(name)
    if path is None or not inside:
        return [name] if path else []
    return [f"{name}.{file.stem}" for file in _siblings(name) if file.stem != "__init__"]


def _siblings(package: str) -> list[Path]:
    folder = shipped("exporters") if package == _FAMILIES else _PACKAGE.joinpath(*package.split(".")[1:])
    return sorted(folder.glob("*.py"))


@cache
def _path(name: str) -> Path | None:
    """Return the file of the module `name`, None if it is no module of edgeopt."""
    root, *parts = name.split(".")
    if root != _ROOT:
        return None
    if parts[:1] == ["exporters"] and parts[1:]:
        file = shipped("exporters").joinpath(*parts[1:]).with_suffix(".py")
        return file if file.is_file() else None
    place = _PACKAGE.joinpath(*parts)
    candidates = (place / "__init__.py", *([place.with_suffix(".py")] if parts else []))
    return next((file for file in candidates if file.is_file()), None)


def _outside(name: str) -> Path | None:
    """Return the file of a module that is not edgeopt's, such as a builder of the user's; what it imports is not followed."""
    if name.split(".", maxsplit=1)[0] == _ROOT:
        return None
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        spec = None
    here = Path.cwd().joinpath(*name.split(".")).with_suffix(".py")  # where `edgeopt.user_code` looks last
    file = Path(spec.origin) if spec and spec.origin else here
    return file if file.is_file() else None


def _parents(name: str) -> list[str]:
    """Return the packages that are imported before the module `name`."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _place(named: str) -> str:
    """Return what counts of `named`: a script alone, since it is sent alone; else the folder; "" for what counts elsewhere."""
    folder, _, last = named.rpartition("/")
    place = folder if "." in last and not last.endswith(".py") else named
    return "" if place.startswith(_BY_VALUE) else place


@cache
def _files_of(folder: str) -> tuple[tuple[str, Path], ...]:
    top, _, inner = folder.partition("/")
    root = shipped(top)
    place = root / inner
    inside = [place] if place.is_file() else place.rglob("*")
    found = sorted(path for path in inside if path.is_file() and "__pycache__" not in path.parts)
    named = [(f"{top}/{path.relative_to(root).as_posix()}", path) for path in found]
    return tuple((name, path) for name, path in named if not name.startswith(_BY_VALUE))


def _group(name: str) -> str:
    """Return the package (or the folder) that a reached file is told by."""
    if "/" in name:
        return name.rpartition("/")[0]
    root, *parts = name.split(".")
    return parts[0] if root == _ROOT and parts else root


@cache
def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
