"""Rows of a table as samples: which columns are text, pair and label, and what kind of label it is.

    text, label              classes (names are numbered as the model's are), numbers, or with ?labels=a,b several classes
    sentence1, sentence2, score                       pairs; for sentence embeddings two samples each, one after the other
    question, context, answers                        extractive question answering
    source, target           with ?target=COLUMN a text that the model is to write

A table without a heading has its columns named 1, 2, …; columns of sentences and of numbers are then recognised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt import progress
from edgeopt.data.annotations import SpanTruth, TokenPlaces, Words
from edgeopt.data.label_names import numbered
from edgeopt.data.samples import Samples
from edgeopt.data.table_texts import text_cell
from edgeopt.data.text import Text, TextOptions, places_of, token_ids, tokenized, tokenizer_at
from edgeopt.errors import DataError, nearest

Row = Mapping[str, Any]
_TEXT = ("text", "sentence", "content", "document", "review", "premise", "question", "sentence1", "text1", "question1", "query")
LABELS = ("label", "labels", "class", "target", "score", "similarity_score", "similarity", "stars", "category")
"""Usual names of the column of labels."""
_PAIRS = {
    "sentence1": "sentence2",
    "text1": "text2",
    "question1": "question2",
    "premise": "hypothesis",
    "question": "context",
    "query": "passage",
}
_NUMBERS = frozenset({"regression", "sentence-embeddings"})
_MOST_CLASSES = 50
_MOST_CLASS = 10**18


@dataclass(frozen=True)
class RowOptions:
    """The columns to read; None: recognised.

    Attributes:
        text: column of the text.
        pair: column of the second text.
        label: column of the label.
        labels: columns of zeros and ones, one per class.
        target: column of the text that the model is to write.
        task: what the model is for, as `edgeopt.tasks` names it; None: the columns say it.
        names: names of the model's classes by number; empty: not known.
    """

    text: str | None = None
    pair: str | None = None
    label: str | None = None
    labels: tuple[str, ...] = ()
    target: str | None = None
    task: str | None = None
    names: tuple[str, ...] = ()


def texts_of_rows(rows: Sequence[Row], options: RowOptions, *, where: str) -> list[Text]:
    """Return the texts of a table, or its pairs of texts, by the same columns as its samples.

    Raises:
        DataError: a column is missing or ambiguous, or a cell is empty.
    """
    columns = _text_columns(options, rows, where)
    firsts = [text_cell(row, columns.text or "", number, where) for number, row in enumerate(rows)]
    if columns.pair is None:
        return list(firsts)
    seconds = [text_cell(row, columns.pair, number, where) for number, row in enumerate(rows)]
    return list(zip(firsts, seconds, strict=True))


def samples_of_rows(
    rows: Sequence[Row], options: RowOptions, tokenizer: Path, form: TextOptions, *, where: str, digest: str
) -> Samples:
    """Return rows as tokenized samples with their labels.

    Raises:
        DataError: a column is missing or ambiguous, a cell is empty, or labels and model do not fit.
    """
    columns = list(rows[0])
    options = _complete(options, rows, where)
    whole, made_from = texts_of_rows(rows, options, where=where), f"{digest} {options}"
    if options.task == "question-answering" or ("answers" in columns and options.pair is not None):
        return _questions(rows, options, tokenizer, form, where=where, digest=made_from)
    if options.pair is not None and options.task == "sentence-embeddings":
        flat: list[Text] = [text for both in whole for text in both]
        samples = tokenized(flat, None, tokenizer, form, made_from=made_from)
        scores = None if options.label is None else _numbers(rows, options.label, where)
        annotations = None if scores is None else [score for score in scores for _ in range(2)]
        return replace(samples, annotations=annotations, group=2)
    samples = tokenized(whole, None, tokenizer, form, made_from=made_from)
    if options.target is not None:
        return _targets(samples, rows, options.target, tokenizer, form, where=where)
    return with_labels(samples, rows, options, where=where)


def with_labels(samples: Samples, rows: Sequence[Row], options: RowOptions, *, where: str) -> Samples:
    """Return samples with the labels of the rows: classes, numbers, or several classes each.

    Raises:
        DataError: a label is missing, or is none of the model's classes.
    """
    if options.labels:
        table = np.stack([_numbers(rows, name, where) for name in options.labels], axis=1)
        if not np.isin(table, (0, 1)).all():
            raise DataError(f"{where}: the columns {', '.join(options.labels)} must hold zeros and ones")
        return replace(samples, annotations=list(table.astype(np.uint8)), names=options.labels)
    if options.label is None:
        return samples
    values = [row.get(options.label) for row in rows]
    if any(value is None or value == "" for value in values):
        number = next(index for index, value in enumerate(values) if value is None or value == "")
        raise DataError(f"{where}: row {number} has no label in column '{options.label}'; repair or remove it")
    texts = [str(value).strip() for value in values]
    broken = [text for text in texts if text.lower().lstrip("+-") in {"inf", "infinity", "nan"}]
    if broken:
        raise DataError(f"{where}: a label in column '{options.label}' is no class and no number, but {broken[0]}")
    if options.task in _NUMBERS or (options.task is None and any(_is_decimal(text) for text in texts) and _are_numbers(texts)):
        return replace(samples, annotations=_numbers(rows, options.label, where))
    if all(_is_whole(text) for text in texts):
        classes = np.array([_class(text, f"{where}, column '{options.label}'") for text in texts], np.int64)
        return replace(samples, labels=classes, names=options.names)
    classes, names = numbered(texts, options.names, where=f"{where}, column '{options.label}'")
    return replace(samples, labels=classes, names=names)


def _complete(options: RowOptions, rows: Sequence[Row], where: str) -> RowOptions:
    """Return the options with the columns that are recognised; a column that may hold labels is named."""
    found = _text_columns(options, rows, where)
    columns = [str(name) for name in rows[0] if name is not None]
    if found.label is None and not options.labels and options.target is None and "answers" not in columns:
        _note_labels([name for name in columns if name not in (found.text, found.pair)], rows, where)
    return found


def _text_columns(options: RowOptions, rows: Sequence[Row], where: str) -> RowOptions:
    """Return the options with the columns that are recognised."""
    columns = [str(name) for name in rows[0] if name is not None]
    for asked in (options.text, options.pair, options.label, options.target, *options.labels):
        if asked is not None and asked not in columns:
            raise DataError(f"{where}: no column '{asked}'{nearest(asked, columns)}; it has: {', '.join(columns)}")
    text, pair, label = options.text, options.pair, options.label
    if all(name.isdigit() for name in columns) and len(columns) > 1:
        guessed = _guessed(rows, columns)
        text, pair, label = text or guessed[0], pair or guessed[1], label or guessed[2]
    if text is None:
        found = [name for name in _TEXT if name in columns and name != options.target]
        found = found[:1] if found and _PAIRS.get(found[0]) in columns else found
        found = found or (columns if len(columns) == 1 else [])
        if len(found) != 1:
            which = "no column has a usual name" if not found else f"several are possible ({', '.join(found)})"
            raise DataError(f"{where}: which column is the text? {which}: write ?text=NAME; it has: {', '.join(columns)}")
        text = found[0]
    if pair is None and _PAIRS.get(text) in columns:
        pair = _PAIRS[text]
    if label is None and not options.labels and options.target is None:
        label = next((name for name in LABELS if name in columns), None)
    return replace(options, text=text, pair=pair, label=label)


def _note_labels(columns: Sequence[str], rows: Sequence[Row], where: str) -> None:
    """Name a column that may hold labels, where none is called so."""
    found = next((name for name in columns if _few_values([row.get(name) for row in rows])), None)
    if found is not None:
        progress.note(f"{where}: no column is called label; if '{found}' holds the labels, write ?label={found}")


def _few_values(values: Sequence[object]) -> bool:
    """Return whether cells could be labels: none is empty, there is more than one value, each ten times on average."""
    if any(value is None or isinstance(value, list | dict) for value in values):
        return False
    return 2 <= len(set(values)) <= len(values) / 10


def _guessed(rows: Sequence[Row], columns: Sequence[str]) -> tuple[str | None, str | None, str | None]:
    """Return text, pair and label among columns without names: those of several words, and the one of numbers."""
    seen = rows[:200]
    cells = {name: [str(row.get(name) or "") for row in seen] for name in columns}
    wordy = [name for name in columns if np.mean([len(cell.split()) for cell in cells[name]]) >= 2.5]
    numeric = [name for name in columns if name not in wordy and _are_numbers(cells[name])]
    decimal = [name for name in numeric if any(_is_decimal(cell) for cell in cells[name])]
    few = [name for name in numeric if len(set(cells[name])) <= min(_MOST_CLASSES, max(2, len(seen) // 2))]
    named = [name for name in columns if name not in wordy and 2 <= len(set(cells[name])) <= 20]
    label = next(iter(decimal or few or named), None)
    return (wordy[0] if wordy else None), (wordy[1] if len(wordy) > 1 else None), label


def _questions(
    rows: Sequence[Row], options: RowOptions, tokenizer: Path, form: TextOptions, *, where: str, digest: str
) -> Samples:
    """Return questions with their contexts; answers are those of SQuAD: {"text": […], "answer_start": […]}."""
    questions = [text_cell(row, options.text or "", number, where) for number, row in enumerate(rows)]
    contexts = [text_cell(row, options.pair or "context", number, where) for number, row in enumerate(rows)]
    pairs: list[Text] = list(zip(questions, contexts, strict=True))
    samples = tokenized(pairs, None, tokenizer, form, made_from=digest)
    places = places_of(pairs, tokenizer, form)
    truths = None
    if "answers" in rows[0]:
        truths = [
            _span(row.get("answers"), place, f"{where}: row {number}")
            for number, (row, place) in enumerate(zip(rows, places, strict=True))
        ]
    return replace(samples, annotations=truths, contexts=places)


def _span(answers: Any, place: TokenPlaces, where: str) -> SpanTruth:
    """Return the tokens that the first answer covers; the first token where it was cut off or there is none."""
    try:
        texts, starts = tuple(map(str, answers["text"])), [int(start) for start in answers["answer_start"]]
        if not texts:
            return SpanTruth(0, 0, ())
        first, last = starts[0], starts[0] + len(texts[0])
    except (TypeError, LookupError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: its answers are not of the form {{'text': […], 'answer_start': […]}}") from error
    inside = [
        index
        for index, ((start, end), text) in enumerate(zip(place.offsets, place.sequences, strict=True))
        if text == 1 and start < last and end > first
    ]
    whole = inside and place.offsets[inside[0]][0] <= first and place.offsets[inside[-1]][1] >= last
    return SpanTruth(inside[0], inside[-1], texts) if whole else SpanTruth(0, 0, texts)


def _targets(samples: Samples, rows: Sequence[Row], column: str, tokenizer: Path, form: TextOptions, *, where: str) -> Samples:
    texts = [text_cell(row, column, number, where) for number, row in enumerate(rows)]
    return with_texts(samples, texts, tokenizer, form.max_length)


def with_texts(samples: Samples, texts: Sequence[str], tokenizer: Path, max_length: int) -> Samples:
    """Return samples whose labels are texts, with their tokens."""
    to_text = _reader_of(tokenizer)
    contexts = [Words(row, to_text) for row in token_ids(texts, tokenizer, max_length)]
    return replace(samples, annotations=texts, contexts=contexts)


def _reader_of(tokenizer: Path) -> Callable[[Sequence[int]], str]:
    def to_text(ids: Sequence[int]) -> str:
        return str(tokenizer_at(tokenizer).decode(list(ids), skip_special_tokens=True)).strip()

    return to_text


def _numbers(rows: Sequence[Row], column: str, where: str) -> list[float]:
    numbers = []
    for number, row in enumerate(rows):
        try:
            numbers.append(float(row.get(column, "")))
        except (TypeError, ValueError, OverflowError) as error:
            raise _no_number(row, number, column, where) from error
        if not np.isfinite(numbers[-1]):
            raise _no_number(row, number, column, where)
    return numbers


def _no_number(row: Row, number: int, column: str, where: str) -> DataError:
    return DataError(f"{where}: row {number} has {row.get(column)!r:.40} in column '{column}', which is not a number")


def _are_numbers(texts: Sequence[str]) -> bool:
    try:
        return bool(np.isfinite([float(text) for text in texts]).all())
    except ValueError:
        return False


def _is_decimal(text: str) -> bool:
    return "." in text and _are_numbers([text]) and not float(text).is_integer()


def _is_whole(text: str) -> bool:
    return _are_numbers([text]) and float(text).is_integer()


def _class(text: str, where: str) -> int:
    number = int(text) if text.lstrip("+-").isdecimal() else int(float(text))
    if abs(number) >= _MOST_CLASS:
        raise DataError(f"{where}: {text[:40]} is no class; number the classes from 0")
    return number
