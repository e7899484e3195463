"""Tables of every form: rows by column name."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeopt.data.table_texts import RowsOptions, read_rows
from edgeopt.errors import DataError


def table(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'text,label\ngood,1\n"bad, really",0\n'),
        ("a.tsv", "text\tlabel\ngood\t1\nbad, really\t0\n"),
        ("a.jsonl", '{"text": "good", "label": 1}\n\n{"text": "bad, really", "label": 0}\n'),
        ("a.json", '[{"text": "good", "label": 1}, {"text": "bad, really", "label": 0}]'),
    ],
)
def test_rows_have_their_columns_in_every_form(tmp_path: Path, name: str, content: str) -> None:
    rows = read_rows(table(tmp_path, name, content), RowsOptions())
    assert [(row["text"], int(row["label"])) for row in rows] == [("good", 1), ("bad, really", 0)]


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no rows in it"):
        read_rows(table(tmp_path, "a.csv", "text,label\n"), RowsOptions())


def test_a_list_of_anything_else_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a list of objects"):
        read_rows(table(tmp_path, "a.json", '{"data": [5]}'), RowsOptions())
