"""CoNLL files: words, tags, and the tokens that carry them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeopt.data.annotations import IGNORED
from edgeopt.data.source import open_source
from edgeopt.data.source_options import Reader
from edgeopt.data.token_files import looks_tagged, read_tagged
from edgeopt.errors import DataError

CONLL = "-DOCSTART- -X- O O\n\nSioux NNP I-NP B-LOC\nFalls NNP I-NP I-LOC\n\n\nthe DT O O\nfox NN O O\n"


def test_words_and_tags_of_conll_and_of_wikiann(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(CONLL)
    found = read_tagged(tmp_path / "a.txt")
    assert found.words == [["Sioux", "Falls"], ["the", "fox"]]
    assert found.tags == [["B-LOC", "I-LOC"], ["O", "O"]]
    (tmp_path / "b.txt").write_text("en:Sioux\tB-LOC\nen::\tO\n\nen:fox\tO\n")
    assert read_tagged(tmp_path / "b.txt").words == [["Sioux", ":"], ["fox"]]
    (tmp_path / "d.txt").write_text("# text = a\n# O\r\nthin\u2028space O\n\n# B-X\n")
    found = read_tagged(tmp_path / "d.txt")
    assert (found.words, found.tags) == ([["#", "thin"], ["#"]], [["O", "O"], ["B-X"]])
    assert looks_tagged(tmp_path / "a.txt")
    (tmp_path / "c.txt").write_text("a good film\nno fox here B-\n")
    assert not looks_tagged(tmp_path / "c.txt")


def test_the_first_token_of_a_word_has_its_tag(tmp_path: Path, word_tokenizer: Path) -> None:
    (tmp_path / "a.conll").write_text(CONLL)
    samples = open_source(str(tmp_path / "a.conll"), Reader(("input_ids", "attention_mask"), word_tokenizer))
    assert samples.names == ("O", "B-LOC", "I-LOC")
    assert samples[0]["input_ids"].tolist() == [1, 10, 11, 12, 2]
    assert samples.annotations is not None
    assert samples.annotations[0].tolist() == [IGNORED, 1, IGNORED, 2, IGNORED]
    of_model = Reader(("input_ids",), word_tokenizer, names=("B-LOC", "I-LOC", "O"))
    tags = open_source(str(tmp_path / "a.conll"), of_model).annotations
    assert tags is not None
    assert tags[0].tolist() == [IGNORED, 0, IGNORED, 1, IGNORED]


def test_tags_and_lines_that_do_not_fit_are_named(tmp_path: Path, word_tokenizer: Path) -> None:
    (tmp_path / "a.conll").write_text(CONLL)
    with pytest.raises(DataError, match="the label 'B-LOC' is none of the model's classes"):
        open_source(str(tmp_path / "a.conll"), Reader(("input_ids",), word_tokenizer, names=("O", "B-PER")))
    (tmp_path / "a.conll").write_text("fox O\nsleeps\n")
    with pytest.raises(DataError, match="line 2 is 'sleeps'"):
        read_tagged(tmp_path / "a.conll")
    (tmp_path / "a.conll").write_text("\n\n")
    with pytest.raises(DataError, match="no tagged words"):
        read_tagged(tmp_path / "a.conll")
