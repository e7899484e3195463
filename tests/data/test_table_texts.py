"""Texts and labels from tables: which column is meant is never guessed between two."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeopt.data.table_texts import Columns, RowsOptions, read_rows, read_table
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
    ],
)
def test_usual_columns_are_found_in_every_form(tmp_path: Path, name: str, content: str) -> None:
    texts, labels = read_table(table(tmp_path, name, content), Columns())
    assert texts == ["good", "bad, really"]
    assert labels is not None
    assert labels.tolist() == [1, 0]


def test_words_as_labels_are_numbered_by_the_alphabet(tmp_path: Path) -> None:
    _, labels = read_table(table(tmp_path, "a.csv", "text,label\na,pos\nb,neg\nc,pos\n"), Columns())
    assert labels is not None
    assert labels.tolist() == [1, 0, 1]


def test_pairs_come_from_two_columns(tmp_path: Path) -> None:
    texts, labels = read_table(table(tmp_path, "a.csv", "premise,other\na,b\n"), Columns(pair="other"))
    assert (texts, labels) == ([("a", "b")], None)


@pytest.mark.parametrize(
    ("content", "columns", "said"),
    [
        ("text,sentence\na,b\n", Columns(), r"several are possible \(text, sentence\)"),
        ("x,y\na,b\n", Columns(), "no column has a usual name"),
        ("text,label\na,b\n", Columns(text="txt"), r"no column 'txt' \(did you mean 'text'\?\)"),
        ("text,label\na\n", Columns(), "row 0 has no label in column 'label'"),
        ("text,label\n", Columns(), "no rows in it"),
    ],
)
def test_what_is_not_clear_is_asked_for(tmp_path: Path, content: str, columns: Columns, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_table(table(tmp_path, "a.csv", content), columns)


def test_a_list_of_anything_else_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a list of objects"):
        read_rows(table(tmp_path, "a.json", '{"data": [5]}'), RowsOptions())
