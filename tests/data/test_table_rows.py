"""Rows of tables as samples: columns that are recognised, and each kind of label."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeopt import progress
from edgeopt.data.annotations import SpanTruth
from edgeopt.data.samples import Samples
from edgeopt.data.source import open_source
from edgeopt.data.source_options import Reader
from edgeopt.data.table_rows import RowOptions, texts_of_rows
from edgeopt.errors import DataError

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def read(path: Path, tokenizer: Path, options: str = "", **reader: object) -> Samples:
    return open_source(f"{path}{options}", Reader(INPUTS, tokenizer, **reader))  # type: ignore[arg-type]


def test_names_of_classes_agree_with_the_model_or_are_an_error(tmp_path: Path, word_tokenizer: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\ngood film,positive\nbad film,negative\n")
    samples = read(path, word_tokenizer, names=("negative", "positive"))
    assert samples.labels is not None
    assert (samples.labels.tolist(), samples.names) == ([1, 0], ("negative", "positive"))
    with pytest.raises(DataError, match="column 'label': the label 'negative' is none of the model's classes"):
        read(path, word_tokenizer, names=("neg", "pos"))


def test_a_table_without_heading_is_understood(tmp_path: Path, word_tokenizer: Path) -> None:
    path = tmp_path / "sts.csv"
    path.write_text(
        'x\tMSR\t0024\t2.500\tthe "fox sleeps now\tthe bad fox sleeps\nx\tMSR\t0033\t3.600\tthe good film\tthe bad film\n'
    )
    samples = read(path, word_tokenizer, task="sentence-embeddings")
    assert (len(samples), samples.group, samples.annotations) == (4, 2, [2.5, 2.5, 3.6, 3.6])
    assert samples[3]["input_ids"].tolist() == [1, 6, 4, 5, 2]
    together = read(path, word_tokenizer)
    assert (len(together), together.annotations) == (2, [2.5, 3.6])
    assert together[1]["token_type_ids"].tolist() == [0] * 5 + [1] * 4
    named = read(path, word_tokenizer, "?columns=genre,file,id,score,sentence1,sentence2", task="sentence-embeddings")
    assert named.annotations == samples.annotations


def test_pairs_come_from_two_columns_of_any_name() -> None:
    rows = [{"premise": "a", "other": "b"}]
    assert texts_of_rows(rows, RowOptions(pair="other"), where="t.csv") == [("a", "b")]
    assert texts_of_rows(rows, RowOptions(), where="t.csv") == ["a"]


@pytest.mark.parametrize(
    ("row", "options", "said"),
    [
        ({"text": "a", "sentence": "b"}, RowOptions(), r"several are possible \(text, sentence\)"),
        ({"x": "a", "y": "b"}, RowOptions(), "no column has a usual name"),
        ({"text": "a", "label": "b"}, RowOptions(text="txt"), r"no column 'txt' \(did you mean 'text'\?\)"),
        ({"text": None}, RowOptions(), "row 0 has no text in column 'text'"),
    ],
)
def test_which_column_is_the_text_is_never_guessed_between_two(
    row: dict[str, str | None], options: RowOptions, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        texts_of_rows([row], options, where="t.csv")


def test_usual_pairs_are_read_together(tmp_path: Path, word_tokenizer: Path) -> None:
    path = tmp_path / "nli.jsonl"
    path.write_text(json.dumps({"premise": "the fox sleeps", "hypothesis": "good fox", "label": 1}) + "\n")
    samples = read(path, word_tokenizer)
    assert samples[0]["token_type_ids"].sum() == 3
    assert samples.labels is not None
    assert samples.labels.tolist() == [1]


def test_numbers_and_several_classes(tmp_path: Path, word_tokenizer: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,score,funny,sad\ngood film,4.5,1,0\nbad film,1.0,0,0\n")
    assert read(path, word_tokenizer).annotations == [4.5, 1.0]
    several = read(path, word_tokenizer, "?labels=funny,sad")
    assert several.annotations is not None
    assert [row.tolist() for row in several.annotations] == [[1, 0], [0, 0]]
    assert several.names == ("funny", "sad")
    with pytest.raises(DataError, match="must hold zeros and ones"):
        read(path, word_tokenizer, "?labels=funny,score")


def test_questions_know_the_tokens_of_their_answers(tmp_path: Path, word_tokenizer: Path) -> None:
    paragraph = {
        "context": "the good fox sleeps",
        "qas": [
            {"question": "who sleeps", "answers": [{"text": "good fox", "answer_start": 4}]},
            {"question": "who", "answers": []},
        ],
    }
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    samples = read(path, word_tokenizer, task="question-answering")
    assert samples.annotations is not None
    assert samples.annotations[0] == SpanTruth(5, 6, ("good fox",))  # [CLS] who sleeps [SEP] the good fox sleeps [SEP]
    assert samples.annotations[1] == SpanTruth(0, 0, ())
    assert samples.contexts is not None
    start, end = (samples.contexts[0].offsets[place] for place in (5, 6))
    assert samples.contexts[0].text[start[0] : end[1]] == "good fox"
    cut = read(path, word_tokenizer, "?max_length=6", task="question-answering").annotations
    assert cut is not None
    assert cut[0] == SpanTruth(0, 0, ("good fox",)), "an answer that was cut off is nowhere"


def test_texts_to_be_written_have_tokens(tmp_path: Path, word_tokenizer: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("text\tanswer\ngood film\tbad film\n")
    samples = read(path, word_tokenizer, "?target=answer")
    assert samples.annotations == ["bad film"]
    assert samples.contexts is not None
    assert samples.contexts[0].tokens == (1, 4, 5, 2)
    assert samples.contexts[0].to_text(samples.contexts[0].tokens) == "bad film"


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("text,label\ngood,\n", "", "row 0 has no label in column 'label'"),
        ("text,label\ngood,a\n", "?label=lable", r"no column 'lable'.*it has: text, label"),
        ("a,b\nx,y\n", "", "which column is the text.*it has: a, b"),
        ("text,score\ngood,high\n", "?label=score&text=text", "row 0 has 'high' in column 'score', which is not a number"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(tmp_path: Path, word_tokenizer: Path, text: str, options: str, said: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    task = "regression" if "high" in text else None
    with pytest.raises(DataError, match=said):
        read(tmp_path / "a.csv", word_tokenizer, options, task=task)


def test_a_column_that_may_hold_the_labels_is_named(tmp_path: Path, word_tokenizer: Path) -> None:
    rows = [f"text {number},{('good', 'bad')[number % 2]},{number}" for number in range(20)]
    path = tmp_path / "moods.csv"
    path.write_text("\n".join(["sentence,mood,id", *rows]))
    said: list[str] = []

    class Notes(progress.Silent):
        def note(self, message: str) -> None:
            said.append(message)

    with progress.listen(Notes()):
        assert read(path, word_tokenizer).labels is None
        assert said == [f"{path}: no column is called label; if 'mood' holds the labels, write ?label=mood"]
        assert read(path, word_tokenizer, "?label=mood").labels is not None
    assert len(said) == 1


@pytest.mark.parametrize(
    ("label", "found"), [("12345678901234567", 12345678901234567), ("-3", -3), ("+3", 3), ("2.0", 2), ("1e3", 1000)]
)
def test_a_whole_number_is_a_class_to_its_last_digit(tmp_path: Path, word_tokenizer: Path, label: str, found: int) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"text,label\ngood film,{label}\n")
    labels = read(path, word_tokenizer).labels
    assert labels is not None and labels.tolist() == [found]


def test_numbers_that_no_class_has_are_refused_and_signs_alone_are_names(tmp_path: Path, word_tokenizer: Path) -> None:
    path = tmp_path / "a.csv"
    for label in ("1e300", "1e19", "999999999999999999999"):
        path.write_text(f"text,label\ngood film,{label}\n")
        with pytest.raises(DataError, match=r"column 'label': .* is no class"):
            read(path, word_tokenizer)
    path.write_text("text,label\ngood film,--5\nbad film,+-5\n")
    assert read(path, word_tokenizer).names == ("+-5", "--5")


def test_a_score_that_is_not_finite_is_refused(tmp_path: Path, word_tokenizer: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("sentence1,sentence2,score\nthe fox,a fox,nan\n")
    with pytest.raises(DataError, match="row 0 has 'nan' in column 'score', which is not a number"):
        read(path, word_tokenizer, task="sentence-embeddings")


@pytest.mark.parametrize("answers", [{"text": ["fox"], "answer_start": []}, {"text": ["fox"], "answer_start": [1e999]}, None])
def test_answers_of_another_form_are_refused_in_any_row(tmp_path: Path, word_tokenizer: Path, answers: object) -> None:
    whole = {"question": "good", "context": "the fox", "answers": {"text": ["fox"], "answer_start": [4]}}
    row = {**whole, "answers": answers} if answers else {"question": "good", "context": "the fox"}
    path = tmp_path / "a.jsonl"
    path.write_text(f"{json.dumps(whole)}\n{json.dumps(row)}\n")
    with pytest.raises(DataError, match=r"row 1: its answers are not of the form"):
        read(path, word_tokenizer)
