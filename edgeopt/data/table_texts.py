"""Text from tables: .csv and .tsv with a header, .jsonl of objects, and .txt with one text per line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeopt.documents import read_json
from edgeopt.errors import DataError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".txt")


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


_READERS = {".json": _json_rows, ".jsonl": _json_lines, ".txt": _lines}
