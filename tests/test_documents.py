"""JSON, TOML and text that others wrote: read, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeopt.documents import read_bytes, read_json, read_text, read_toml
from edgeopt.errors import DataError


def test_what_is_well_formed_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [1, "é"]}', encoding="utf-8")
    (tmp_path / "a.toml").write_text("a = [1]\r\n", encoding="utf-8")
    assert read_json(tmp_path / "a.json", error=DataError, what="a plan") == {"a": [1, "é"]}
    assert read_toml(tmp_path / "a.toml", error=DataError, what="a recipe") == {"a": [1]}


@pytest.mark.parametrize("read", [read_json, read_toml, read_text, read_bytes])
def test_folders_missing_files_and_impossible_paths_are_said(tmp_path: Path, read) -> None:  # type: ignore[no-untyped-def]
    cases = {tmp_path: "a folder where a plan should be", tmp_path / "no": "No such file", Path("a\0b"): "null"}
    for place, said in cases.items():
        with pytest.raises(DataError, match=said) as caught:
            read(place, error=DataError, what="a plan")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe{}", "cannot be read as JSON: 'utf-8' codec"),
        (b"[" * 100_000, "never nested so deeply"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "cannot be read as JSON: Exceeds the limit"),
        (b"", "cannot be read as JSON"),
    ],
)
def test_json_that_cannot_be_read_is_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_json(tmp_path / "a.json", error=DataError, what="a plan")
    assert str(caught.value).startswith(f"{tmp_path / 'a.json'}: ")
    assert "\n" not in str(caught.value)


def test_toml_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    for content in (b"a = ", b"\xff", b"a = " + b"[" * 50_000):
        (tmp_path / "a.toml").write_bytes(content)
        with pytest.raises(DataError, match="not valid TOML") as caught:
            read_toml(tmp_path / "a.toml", error=DataError, what="a recipe")
        assert "\n" not in str(caught.value)


def test_whoever_expects_damaged_json_expects_deep_json_too() -> None:
    """Python's parser raises RecursionError, which is no ValueError, for JSON that is nested deeply."""
    import ast

    root, found, careless = Path(__file__).parents[1], 0, []
    for path in (*(root / "edgeopt").rglob("*.py"), *(root / "deploy" / "runner").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Try) or "json.load" not in "".join(map(ast.unparse, node.body)):
                continue
            kinds = " ".join(ast.unparse(handler.type) if handler.type else "Exception" for handler in node.handlers)
            found += 1
            if "ValueError" in kinds and "RecursionError" not in kinds and "Exception" not in kinds.split():
                careless.append(f"{path.relative_to(root)}:{node.lineno}")
    assert found > 15
    assert careless == []
