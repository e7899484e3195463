"""What the files of a model's folder say about its inputs and classes, without loading the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeopt.documents import read_json
from edgeopt.errors import ModelError

_LABEL_DIGITS = 18
_MOST_TOKENS = 1_000_000


@dataclass(frozen=True)
class FolderFacts:
    """Names of classes by number, task, and names of inputs, as far as a folder says them."""

    names: tuple[str, ...] = ()
    task: str | None = None
    inputs: tuple[str, ...] = ()


def facts_of(folder: Path) -> FolderFacts:
    """Return what bundle.json, config.json, model.json and the processor files of a folder say.

    Raises:
        ModelError: one of them is not JSON.
    """
    names: tuple[str, ...] = ()
    task: str | None = None
    for file in ("bundle.json", "model.json", "config.json"):
        values = _read(folder / file)
        names = names or _names(values)
        said = values.get("task")
        task = task or (said if isinstance(said, str) else None)
    return FolderFacts(names, task, _inputs(folder))


def vocabulary_of(folder: Path) -> tuple[str, ...]:
    """Return the tokens in a folder's vocab.json or tokenizer.json by number; () where neither has such a table."""
    table = _read(folder / "vocab.json") or (_read(folder / "tokenizer.json").get("model") or {}).get("vocab")
    tokens = {number: name for name, number in table.items() if isinstance(number, int)} if isinstance(table, dict) else {}
    return tuple(tokens.get(number, "") for number in range(max(tokens) + 1)) if 0 < len(tokens) <= _MOST_TOKENS else ()


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    values = read_json(path, error=ModelError, what="a description of the model")
    return values if isinstance(values, dict) else {}


def _names(values: dict[str, Any]) -> tuple[str, ...]:
    labels = values.get("labels") or values.get("id2label") or ()
    if isinstance(labels, dict):
        numbers = [key for key in labels if key.isdecimal() and len(key) <= _LABEL_DIGITS]
        labels = [labels[key] for key in sorted(numbers, key=int)]
    return tuple(str(label) for label in labels) if isinstance(labels, list | tuple) else ()


def _inputs(folder: Path) -> tuple[str, ...]:
    """Return the inputs that a processor or a tokenizer feeds, by their usual names."""
    processor = _read(folder / "preprocessor_config.json")
    if "image_processor_type" in processor:
        return ("pixel_values",)
    if "feature_extractor_type" in processor:
        return ("input_values",) if processor.get("feature_size") in (1, None) else ("input_features",)
    named = _read(folder / "tokenizer_config.json").get("model_input_names")
    if isinstance(named, list) and (folder / "tokenizer.json").is_file():
        return tuple(str(name) for name in named)
    return ()
