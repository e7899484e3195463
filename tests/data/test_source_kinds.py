"""Kinds of sources, told from names and from a look at the first lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeopt.data.source_kinds import kind_of


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.conll", "fox O\n", "tokens"),
        ("a.txt", "fox O\nSioux B-LOC\n", "tokens"),
        ("a.txt", "a fox sleeps\n", "table"),
        ("a.test", "1 a good film\n0\ta bad film\n", "sentences"),
        ("a.json", '{"images": [], "annotations": []}', "boxes"),
        ("a.json", '[{"text": "a"}]', "table"),
        ("a.csv", "text\n", "table"),
        ("a.npy", "", "arrays"),
    ],
)
def test_kinds_of_files(tmp_path: Path, name: str, text: str, kind: str) -> None:
    (tmp_path / name).write_text(text)
    assert kind_of(str(tmp_path / name)) == kind


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (["images/a.jpg", "labels/a.txt"], "boxes"),
        (["images/a.jpg", "masks/a.png"], "maps"),
        (["yes/a.wav", "no/b.wav"], "recordings"),
        (["cat/a.jpg", "dog/a.jpg"], "images"),
        (["state.json", "dataset_info.json", "data.arrow"], "dataset"),
        (["dataset_dict.json", "train/state.json"], "dataset"),
    ],
)
def test_kinds_of_folders(tmp_path: Path, files: list[str], kind: str) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(b"")
    assert kind_of(str(tmp_path)) == kind
