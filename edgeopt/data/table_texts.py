"""Text from tables: .csv and .tsv with a header, .jsonl of objects, and .txt with one text per line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeopt.data.text import Text
from edgeopt.documents import read_json
from edgeopt.errors import DataError, nearest

SUFFIXES = (".csv", ".tsv", ".jsonl", ".txt")
_TEXT = ("text", "sentence", "content", "document", "review", "premise", "question", "sentence1", "query")
_LABEL = ("label", "labels", "class", "target")


@dataclass(frozen=True)
class Columns:
    """The columns to read; None: the one with a usual name (for the label: if there is one)."""

    text: str | None = None
    pair: str | None = None
    label: str | None = None


def read_table(path: Path, columns: Columns) -> tuple[list[Text], NDArray[np.int64] | None]:
    """Return the texts (pairs of texts if `columns.pair` is named) of a file, and their labels.

    Labels that are not integers are numbered in alphabetical order.

    Raises:
        DataError: the file cannot be read, has no such column, or a row lacks it.
    """
    rows, where = _read(path, _READERS[path.suffix.lower()]), str(path)
    names = [str(name) for name in rows[0] if name is not None]  # (csv puts cells beyond the heading under None)
    text = _column(columns.text, _TEXT, names, where, "text")
    firsts = [text_cell(row, text, number, where) for number, row in enumerate(rows)]
    texts: list[Text] = list(firsts)
    if columns.pair is not None:
        pair = _column(columns.pair, (), names, where, "pair")
        texts = [
            (first, text_cell(row, pair, number, where)) for number, (first, row) in enumerate(zip(firsts, rows, strict=True))
        ]
    label = columns.label or next((name for name in _LABEL if name in names), None)
    if label is None:
        return texts, None
    label = _column(label, (), names, where, "label")
    return texts, _numbered([row.get(label) for row in rows], where, label)


@dataclass(frozen=True)
class RowsOptions:
    """How a table is read: names of its columns where it has no heading, and what separates cells (None: recognised)."""

    columns: tuple[str, ...] = ()
    separator: str | None = None


_SEPARATORS = {"comma": ",", "tab": "\t", "semicolon": ";"}


def read_rows(path: Path, options: RowsOptions) -> list[dict[str, Any]]:
    """Return the rows of a table by column name.

    A .csv or .tsv file without a heading (a cell of its first line is a number, or `options.columns` are given) has columns
    called 1, 2, …. In a .csv file whose cells are separated by tabs, quotation marks have no meaning.

    Raises:
        DataError: the file cannot be read, or has no rows.
    """
    suffix = path.suffix.lower()
    if suffix in {".csv", ".tsv"}:
        return _read(path, lambda file: _cells_by_name(file, options))
    return _read(path, _READERS[suffix])


def _read(path: Path, reader: Callable[[Path], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the rows that `reader` finds in a file; one that cannot be read, or has none, is refused in one line."""
    try:
        rows = reader(path)
    except IsADirectoryError as error:
        raise DataError(f"{path}: a folder where a table should be; name the file") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a table of UTF-8 text: {error}") from error
    if not rows:
        raise DataError(f"{path}: no rows in it")
    return rows


def _cells_by_name(path: Path, options: RowsOptions) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        file.seek(0)
        if options.separator is not None:
            separator = _SEPARATORS[options.separator]
        else:
            separator = "\t" if path.suffix.lower() == ".tsv" or "\t" in first else ","
        plain = separator == "\t" and path.suffix.lower() != ".tsv"  # what others call .csv and separate by tabs has no quotes
        reader = csv.reader(file, delimiter=separator, quoting=csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL, strict=True)
        rows = [row for row in reader if row]
    if not rows:
        return []
    names = list(options.columns)
    if not names:
        headless = any(_is_number(cell) for cell in rows[0])
        names = [str(place) for place in range(1, len(rows[0]) + 1)] if headless else rows[0]
        rows = rows if headless else rows[1:]
    return [dict(zip(names, row, strict=False)) for row in rows]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _json_rows(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSON list; those of SQuAD's nested form as one row per question."""
    values: Any = read_json(path, error=DataError, what="a table")
    if isinstance(values, dict) and isinstance(values.get("data"), list):
        values = values["data"]
        if values and isinstance(values[0], dict) and "paragraphs" in values[0]:
            values = _squad_rows(values, path)
    if not isinstance(values, list) or not all(isinstance(row, dict) for row in values):
        raise DataError(f"{path}: not a list of objects; write one object of columns per row")
    return values


def _squad_rows(articles: list[Any], path: Path) -> list[dict[str, Any]]:
    rows = []
    try:
        for paragraph in (part for article in articles for part in article["paragraphs"]):
            for question in paragraph["qas"]:
                answers = question.get("answers") or []
                found = {"text": [a["text"] for a in answers], "answer_start": [a["answer_start"] for a in answers]}
                rows.append({"question": question["question"], "context": paragraph["context"], "answers": found})
    except (TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: not of SQuAD's form: {type(error).__name__}: {error}") from error
    return rows


def _column(wanted: str | None, usual: Sequence[str], names: list[str], where: str, option: str) -> str:
    if wanted is not None:
        if wanted not in names:
            raise DataError(f"{where}: no column '{wanted}'{nearest(wanted, names)}; it has: {', '.join(names)}")
        return wanted
    found = [name for name in usual if name in names] or (names if len(names) == 1 else [])
    if len(found) != 1:
        which = "no column has a usual name" if not found else f"several are possible ({', '.join(found)})"
        raise DataError(f"{where}: which column is the {option}? {which}: write ?{option}=NAME; it has: {', '.join(names)}")
    return found[0]


def text_cell(row: Mapping[str, Any], name: str, number: int, where: str) -> str:
    """Return the text of row `number` in column `name`; `where` begins the error of a row that has none."""
    value = row.get(name)
    if not isinstance(value, str) or not _is_text(value):
        raise DataError(f"{where}: row {number} has no text in column '{name}'; repair or remove it")
    return value


def _is_text(value: str) -> bool:
    """Return whether a string is text that UTF-8 can hold (JSON can write halves of characters)."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _numbered(values: list[Any], where: str, column: str) -> NDArray[np.int64]:
    if any(value is None for value in values):
        raise DataError(f"{where}: row {values.index(None)} has no label in column '{column}'; repair or remove it")
    try:
        return np.array([int(value) for value in values], dtype=np.int64)
    except OverflowError as error:
        raise DataError(f"{where}: a label in column '{column}' is no class, but {error}") from error
    except (TypeError, ValueError):
        names = sorted({str(value) for value in values})
        return np.array([names.index(str(value)) for value in values], dtype=np.int64)


def _separated(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
        return list(reader)


def _json_lines(path: Path) -> list[dict[str, Any]]:
    rows = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line) if line.strip() else None
            except RecursionError as error:
                raise DataError(f"{path}: line {number} is nested too deeply") from error
            except ValueError as error:
                raise DataError(f"{path}: line {number} is not JSON: {str(error)[:200]}") from error
            if row is not None:
                if not isinstance(row, dict):
                    raise DataError(f"{path}: line {number} is not a JSON object; write one object of columns per line")
                rows.append(row)
    return rows


def _lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [{"text": line.rstrip("\r\n")} for line in file if line.strip()]


_READERS = {".csv": _separated, ".tsv": _separated, ".json": _json_rows, ".jsonl": _json_lines, ".txt": _lines}
