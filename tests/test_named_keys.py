"""Every key and every flag that a message, a help text or a page of the documentation names is one that exists."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
import pytest
import typer.main
from pydantic import BaseModel

import edgeopt
from edgeopt.cli.app import app
from edgeopt.config import Options
from edgeopt.generate.engine.sampling import Sampling
from edgeopt.recipe import Recipe
from edgeopt.targets.target import Target

_PACKAGE = Path(edgeopt.__file__).parent
_ROOT = _PACKAGE.parent
_DOTTED = re.compile(
    r"(?<![\w./{}-])((?:data|teacher|distill|prune|export|quantize|verify|profile|bundle|device|provider|quantization|weights)"
    r"(?:\.[a-z_]+)+)(?![\w(])"
)
_SET = re.compile(r"(?<![\w./{}<>=?&-])([a-z][a-z_]*(?:\.[a-z_]+)*) ?= ?(?=[\"'\w])")
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
_FILE = re.compile(r"\.(json|py|onnx|npz|html|toml|md|part|spill)$")
_OTHERS = {
    "input_ids": "an input of a model, in an example",
    "sequence": "an axis of a model, in an example",
    "enable_nested_tensor": "an argument of torch.nn.TransformerEncoder",
    "training": "an argument of torch's dropout",
    "version": "XML's first line",
    "encoding": "XML's first line",
    "charset": "an HTTP header",
    "status": "a label of Prometheus",
}
_ELSEWHERE = (
    "targets/transports",
    "targets/environments.py",
    "lifetime.py",
    "bundle/llm_readme.py",
    "bundle/ort_format.py",
    "search/ray_workers.py",
)
"""Command lines of other programs, a bundle's own chat.py and onnxruntime's build script among them."""
_GRAPHS = ("bundle/in_graph.py",)
"""Graphs in ONNX's text form: names of tensors stand before an equals sign."""
_TAG = re.compile(r"<[a-zA-Z!/][^>]*>")


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        kinds = [field.annotation, *get_args(field.annotation)]
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _fields(kind, f"{prefix}{name}.")


def _subclasses(kind: type[Options]) -> Iterator[type[Options]]:
    for below in kind.__subclasses__():
        yield below
        yield from _subclasses(below)


@pytest.fixture(scope="module")
def keys() -> set[str]:
    for path in _PACKAGE.rglob("*.py"):
        if "Options" in path.read_text(encoding="utf-8") and path.parent.name != "cli" and not path.name.startswith("_"):
            importlib.import_module(".".join(path.relative_to(_PACKAGE.parent).with_suffix("").parts))
    sampling = {field.name for field in dataclasses.fields(Sampling)}  # what --set of generate and chat takes
    return sampling | {key for kind in {Recipe, Target, *_subclasses(Options)} for key in _fields(kind)}


@pytest.fixture(scope="module")
def flags() -> set[str]:
    def below(command: click.Command) -> Iterator[str]:
        for parameter in command.params:
            yield from (*parameter.opts, *parameter.secondary_opts)
        for child in getattr(command, "commands", {}).values():
            yield from below(child)

    return {"--help", *below(typer.main.get_command(app))}


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the strings of a module that are no docstrings, those with values put in as one text."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    seen = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            seen |= {id(part) for part in node.values}
            yield node.lineno, "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in seen:
            yield node.lineno, node.value


def _messages() -> list[tuple[str, str]]:
    return [
        (f"{path.relative_to(_PACKAGE)}:{line}", text)
        for path in sorted(_PACKAGE.rglob("*.py"))
        for line, whole in _texts(path)
        if " " in (text := _TAG.sub("", whole))
    ]


def _is_key(name: str, keys: set[str]) -> bool:
    return name in keys or any(key.endswith(f".{name}") for key in keys)


def test_keys_in_messages_exist(keys: set[str]) -> None:
    """The recipe advised quantize.method=percentile; the key is ranges."""
    named = [
        (place, name)
        for place, text in _messages()
        for name in [*_DOTTED.findall(text), *_SET.findall(text)]
        if not _FILE.search(name) and name not in _OTHERS and not place.startswith(_GRAPHS)
    ]
    assert ("recipe.py", "quantize.ranges") in {(place.split(":")[0], name) for place, name in named}, (
        "the patterns find nothing"
    )
    assert [f"{place}: {name}" for place, name in named if not _is_key(name, keys)] == []


def test_flags_in_messages_exist(flags: set[str]) -> None:
    named = [(place, name) for place, text in _messages() if not place.startswith(_ELSEWHERE) for name in _FLAG.findall(text)]
    assert {"--exclude", "--data"} <= {name for _, name in named}, "the pattern finds nothing"
    assert [f"{place}: {name}" for place, name in named if name not in flags] == []


def _pages() -> list[Path]:
    return [path for path in [_ROOT / "README.md", *sorted((_ROOT / "docs").rglob("*.md"))] if "log" not in path.parts]


@pytest.mark.parametrize("page", _pages(), ids=lambda path: str(path.relative_to(_ROOT)))
def test_keys_and_flags_in_the_documentation_exist(page: Path, keys: set[str], flags: set[str]) -> None:
    wrong = []
    for line in page.read_text(encoding="utf-8").splitlines():
        wrong += [name for name in re.findall(r"--set ['\"]?([a-z_.]+)=", line) if not _is_key(name, keys)]
        called = re.search(r"\bedgeopt (?!-)[a-z-]+ .*", line)
        wrong += [name for name in _FLAG.findall(called[0] if called else "") if name not in flags]
    assert wrong == []


def test_a_wrong_key_is_found(keys: set[str]) -> None:
    [name] = _DOTTED.findall("write KEY=VALUE, such as quantize.method=percentile")
    assert not _is_key(name, keys) and _is_key("quantize.ranges", keys) and _is_key("soft_weight", keys)
