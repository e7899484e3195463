"""How raw data reaches a model, from what a user names: samples, a tokenizer, a preprocessing file, class names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeopt.data.preprocessing import ArrayInput, Preprocessing, TokenizerInput
from edgeopt.errors import DataError
from edgeopt.graph.signature import Signature

_TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForImageClassification": "image-classification",
    "ForObjectDetection": "object-detection",
    "ForSemanticSegmentation": "image-segmentation",
    "ForAudioClassification": "audio-classification",
    "ForCTC": "automatic-speech-recognition",
}
_FEEDS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer.json, and how long texts may be where neither it nor the model says so."""

    file: Path
    max_length: int = 128


def find_tokenizer(place: Path) -> Path:
    """Return the tokenizer.json at `place`, or in the folder `place`.

    Raises:
        DataError: there is none.
    """
    file = place / "tokenizer.json" if place.is_dir() else place
    if not file.is_file():
        raise DataError(f"{file}: no such tokenizer; name the folder that holds tokenizer.json")
    return file


def tokenizer_input(tokenizer: Tokenizer, signature: Signature) -> TokenizerInput:
    """Return how texts become the model's inputs.

    Raises:
        DataError: the tokenizer cannot be read, or feeds none of the model's inputs.
    """
    try:
        settings = json.loads(tokenizer.file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{tokenizer.file}: not a tokenizer.json: {error}") from error
    names = {tensor.name: tensor for tensor in signature.inputs}
    if _FEEDS[0] not in names:
        raise DataError(f"{tokenizer.file}: a tokenizer feeds '{_FEEDS[0]}'; the model takes {', '.join(names)}")
    shape = names[_FEEDS[0]].shape
    fixed = shape[-1] if shape and isinstance(shape[-1], int) else None
    return TokenizerInput(
        max_length=fixed or _number(settings, "truncation", "max_length") or tokenizer.max_length,
        padding=_number(settings, "padding", "pad_id") or 0,
        attention_mask=_FEEDS[1] if _FEEDS[1] in names else None,
        token_type_ids=_FEEDS[2] if _FEEDS[2] in names else None,
    )


def _number(settings: Any, part: str, key: str) -> int | None:
    options = settings.get(part) if isinstance(settings, dict) else None
    value = options.get(key) if isinstance(options, dict) else None
    return value if type(value) is int and value > 0 else None


def for_model(
    preprocessing: Preprocessing, tokenizer: Tokenizer | None, signature: Signature, *, pairs: bool = False
) -> Preprocessing:
    """Return `preprocessing` with the inputs that this model has; arrays with a tokenizer beside them are texts, or `pairs`."""
    if isinstance(preprocessing, TokenizerInput):
        pairs |= preprocessing.pair
        if tokenizer is None:
            return preprocessing.model_copy(update={"pair": pairs})
        known = tokenizer_input(Tokenizer(tokenizer.file, preprocessing.max_length), signature)
        return known.model_copy(update={"max_length": preprocessing.max_length, "pair": pairs})
    if isinstance(preprocessing, ArrayInput) and tokenizer is not None:
        return tokenizer_input(tokenizer, signature).model_copy(update={"pair": pairs})
    return preprocessing


def takes_raw(preprocessing: Preprocessing) -> bool:
    """Return whether raw data, and not arrays, is what the preprocessing takes."""
    return not isinstance(preprocessing, ArrayInput)


def task_beside(folder: Path) -> str | None:
    """Return the task that the class of a model says in the config.json of its folder, or None."""
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        names = [str(name) for name in values["architectures"]]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None
    return next((task for name in names for end, task in _TASKS.items() if name.endswith(end)), None)


def tokenizer_beside(model: Path, signature: Signature) -> Path | None:
    """Return the folder of a model of token ids, if a tokenizer lies in it."""
    takes_ids = any(tensor.name == _FEEDS[0] for tensor in signature.inputs)
    return model.parent if takes_ids and (model.parent / "tokenizer.json").is_file() else None


def read_labels(path: Path) -> tuple[str, ...]:
    """Return class names from a text file, one per line, or a .json: a list, names by number, or a model's ``id2label``.

    Raises:
        DataError: the file cannot be read, or does not name the classes from 0 on.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = json.loads(text) if path.suffix.lower() == ".json" else text.splitlines()
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: the class names cannot be read: {error}") from error
    if isinstance(values, Mapping):
        values = _by_number(values.get("id2label", values), path)
    if not isinstance(values, list) or not all(isinstance(name, str) for name in values):
        raise DataError(f'{path}: give one class name per line, or JSON such as ["cat", "dog"] or {{"0": "cat", "1": "dog"}}')
    names = tuple(name.strip() for name in values)
    while names and not names[-1]:
        names = names[:-1]
    if not names or not all(names):
        raise DataError(f"{path}: class {names.index('') if names else 0} has no name")
    return names


def _by_number(values: Any, path: Path) -> list[Any]:
    count = len(values) if isinstance(values, Mapping) else 0
    if isinstance(values, Mapping) and all(type(number) is int for number in values.values()):
        values = {str(number): name for name, number in values.items()}
    wanted = [str(number) for number in range(count)]
    if not wanted or set(wanted) != set(values):
        raise DataError(f"{path}: does not number the classes from 0 on")
    return [values[number] for number in wanted]
