"""Tokens: those of transformers, and streams of whole characters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeopt.generate.engine.engine import Engine
from edgeopt.generate.engine.errors import FolderError, PromptError
from edgeopt.generate.engine.tokens import Detokenizer, Tokens


@pytest.fixture(scope="module")
def theirs(portable: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(portable)


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=80))
def test_tokens_and_texts_are_those_of_transformers(engine: Engine, theirs: Any, text: str) -> None:
    ids = engine.tokens.encode(text)
    assert ids == theirs(text)["input_ids"]
    assert engine.tokens.decode(ids) == theirs.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=40))
def test_a_stream_is_the_text_in_whole_characters(engine: Engine, text: str) -> None:
    made = Detokenizer(engine.tokens)
    pieces = [made.add(token) for token in engine.tokens.encode(text)]
    assert "".join(pieces) + made.flush() == text
    assert not any("\ufffd" in piece for piece in pieces) or "\ufffd" in text


def test_bytes_that_are_no_text_are_passed_on_in_the_end(engine: Engine) -> None:
    half = engine.tokens.encode("🙂")[:1]
    made = Detokenizer(engine.tokens)
    assert made.add(half[0]) == ""
    assert "\ufffd" in made.flush()
    endless = Detokenizer(engine.tokens)
    assert "".join(endless.add(half[0]) for _ in range(30)).count("\ufffd") >= 20


def test_a_folder_without_a_tokenizer_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"no tokenizer\.json"):
        Tokens(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(FolderError, match="cannot read it"):
        Tokens(tmp_path / "tokenizer.json")


def test_half_a_character_is_refused_in_a_line(engine: Engine) -> None:
    with pytest.raises(PromptError, match="the text is not UTF-8: character 2"):
        engine.tokens.encode("a \udcff")
