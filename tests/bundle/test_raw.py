"""What a bundle says of raw data: preprocessing, tokenizer and class names, tried before the bundle is done."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from typer.testing import CliRunner

from edgeopt.bundle.raw import Tokenizer, read_labels, task_beside, tokenizer_input
from edgeopt.bundle.raw_golden import wav
from edgeopt.cli.app import app
from edgeopt.errors import DataError, RecipeError
from edgeopt.graph import files

_COLOURS = """<ir_version: 9, opset_import: ["" : 19]> mean (float[batch, 3, 4, 4] image) => (float[batch, 3] colour)
<int64[2] axes = {2, 3}> { colour = ReduceMean <keepdims = 0> (image, axes) }"""
_TOKENS = """<ir_version: 9, opset_import: ["" : 19]>
count (int64[batch, sequence] input_ids, int64[batch, sequence] attention_mask) => (int64[batch, 1] tokens)
<int64[1] axes = {1}> { tokens = ReduceSum (attention_mask, axes)  unused = Identity (input_ids) }"""
_STEPS = "width = 4\nheight = 4\n"


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two models, images in folders by class, texts and a tokenizer of single words."""
    for name, text in (("colours", _COLOURS), ("tokens", _TOKENS)):
        onnx.save(onnx.parser.parse_model(text), tmp_path / f"{name}.onnx")
    for name, colour in (("blue", (0, 0, 255)), ("green", (0, 255, 0)), ("red", (255, 0, 0))):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (9, 7), colour).save(tmp_path / "photos" / name / "one.png")
    (tmp_path / "steps.toml").write_text(_STEPS, encoding="utf-8")
    words = {word: number for number, word in enumerate(["[UNK]", "[PAD]", "good", "bad", "film"])}
    settings = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"},
    }
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "tokenizer.json").write_text(json.dumps(settings), encoding="utf-8")
    (tmp_path / "texts.csv").write_text("text,label\ngood film,1\nbad film film,0\n", encoding="utf-8")
    ids = np.ones((2, 4), np.int64)
    np.savez(tmp_path / "ids.npz", input_ids=ids, attention_mask=ids)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bundle(*arguments: str) -> dict[str, object]:
    done = CliRunner().invoke(app, ["bundle", *arguments, "-o", "b", "-q"], catch_exceptions=False)
    assert done.exit_code == 0 and "verified" in done.output, done.output
    found: dict[str, object] = json.loads(Path("b/bundle.json").read_text(encoding="utf-8"))
    return found


def example(raw: str) -> str:
    done = subprocess.run([sys.executable, "b/example.py", raw], capture_output=True, text=True, check=True)
    return done.stdout


def test_images_bring_their_preprocessing_and_the_names_of_their_classes(work: Path) -> None:
    found = bundle("colours.onnx", "--data", "photos?preprocessing=steps.toml")
    assert found["labels"] == ["blue", "green", "red"]
    assert found["preprocessing"]["kind"] == "image" and found["preprocessing"]["width"] == 4  # type: ignore[index]
    assert example("photos/red/one.png").startswith(
        "colour: blue (1,"
    )  # the model's first channel is red, the first class blue


@pytest.mark.parametrize("data", ["texts.csv?text=text&label=label", "texts.csv?text=text&tokenizer=words", "ids.npz"])
def test_a_tokenizer_goes_into_the_bundle_with_what_it_feeds(work: Path, data: str) -> None:
    tokenizer = [] if "tokenizer" in data else ["--tokenizer", "words"]
    steps = bundle("tokens.onnx", "--data", data, *tokenizer)["preprocessing"]
    assert isinstance(steps, dict) and steps["kind"] == "tokenizer" and steps["token_type_ids"] is None
    assert "from 4 to 4" in example("good bad good film")


def test_a_table_of_pairs_makes_a_bundle_of_pairs_unless_each_text_has_its_own_vector(work: Path) -> None:
    Path("pairs.csv").write_text("sentence1,sentence2\ngood film,bad film\nbad,good\n", encoding="utf-8")
    options = ("--data", "pairs.csv", "--tokenizer", "words")
    found: Any = bundle("tokens.onnx", *options)
    assert found["preprocessing"]["pair"] is True
    assert [entry["input"]["text"] for entry in found["golden"]["raw"]] == [["good film", "bad film"], ["bad", "good"]]
    Path("plain.toml").write_text('kind = "arrays"\n', encoding="utf-8")
    found = bundle("tokens.onnx", *options, "--task", "sentence-similarity", "--decoding", "plain.toml")
    assert found["preprocessing"]["pair"] is False
    assert [entry["input"]["text"] for entry in found["golden"]["raw"]] == ["good film", "bad film", "bad", "good"]


def test_a_streaming_model_has_golden_inputs_of_one_chunk_and_raw_ones_of_a_recording(work: Path) -> None:
    text = """<ir_version: 9, opset_import: ["" : 19]>
    sums (float[batch, 8] sound, float[1, batch, 1] before, int64[1] rate) => (float[batch, 1] level, float[1, batch, 1] after)
    <int64[1] axes = {1}, int64[1] front = {0}> { sum = ReduceSum (sound, axes)  more = Unsqueeze (sum, front)
    after = Add (before, more)  level = Squeeze (after, front)  unused = Identity (rate) }"""
    onnx.save(onnx.parser.parse_model(text), "sums.onnx")
    Path("sounds").mkdir()
    Path("sounds/a.wav").write_bytes(wav(np.full(20, 0.25), 8000))
    steps = 'kind = "audio"\nrate = 8000\nchunk = 8\nstates = {before = "after"}\nconstants = {rate = 8000}\n'
    Path("stream.toml").write_text(steps, encoding="utf-8")
    found: Any = bundle("sums.onnx", "--data", "sounds", "--preprocessing", "stream.toml")
    with np.load("b/golden.npz") as golden:
        inputs = [golden[f"sample0000.input{place}"] for place in range(3)]
    assert [value.shape for value in inputs] == [(1, 8), (1, 1, 1), (1,)]
    assert (inputs[0].sum(), inputs[1].item(), inputs[2].item()) == (pytest.approx(2, abs=1e-3), 0, 8000)
    (entry,) = found["golden"]["raw"]
    assert entry["answer"]["arrays"]["level"]["values"] == pytest.approx([2, 4, 5], abs=1e-3), "three runs, the last one padded"


@pytest.mark.parametrize("options", [("--labels", "names.txt"), ("--task", "image-regression")])
def test_names_of_folders_are_not_asked_for_where_others_are_given_or_none_are_needed(
    work: Path, options: tuple[str, str]
) -> None:
    (work / "photos" / "red" / "one.png").unlink()
    (work / "photos" / "red").rmdir()
    Path("names.txt").write_text("r\ng\nb\n", encoding="utf-8")
    command = ["bundle", "colours.onnx", "--data", "photos?preprocessing=steps.toml", *options, "-o", "b", "-q"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0 and "the data names" not in done.output, done.output


def test_preprocessing_and_labels_can_be_named_for_arrays(work: Path) -> None:
    np.savez("pixels.npz", image=np.ones((2, 3, 4, 4), np.float32))
    Path("names.txt").write_text("r\ng\nb\n", encoding="utf-8")
    found = bundle("colours.onnx", "--data", "pixels.npz", "--preprocessing", "steps.toml", "--labels", "names.txt")
    assert found["labels"] == ["r", "g", "b"]
    assert example("photos/green/one.png").startswith("colour: g (1,")


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("width = 5\nheight = 4\n", "does not run on an image of 7×6 pixels"),
        ('width = 4\nheight = 4\nlayout = "NHWC"\n', "name another with --preprocessing FILE"),
        ('kind = "tokenizer"\nmax_length = 8\n', "preprocessing"),
    ],
)
def test_a_bundle_whose_example_cannot_run_raw_data_is_not_written(work: Path, steps: str, said: str) -> None:
    np.savez("pixels.npz", image=np.ones((2, 3, 4, 4), np.float32))
    Path("other.toml").write_text(steps, encoding="utf-8")
    command = ["bundle", "colours.onnx", "--data", "pixels.npz", "--preprocessing", "other.toml", "-o", "b", "-q"]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, RecipeError) and said in str(done.exception)
    assert not Path("b").exists()


def test_class_names_of_another_number_are_refused(work: Path) -> None:
    Path("names.txt").write_text("r\ng\n", encoding="utf-8")
    command = ["bundle", "colours.onnx", "--data", "photos?preprocessing=steps.toml", "--labels", "names.txt", "-o", "b"]
    done = CliRunner().invoke(app, [*command, "--task", "image-classification"])
    assert isinstance(done.exception, RecipeError) and "2 class names for a model of 3 classes" in str(done.exception)


def test_a_picked_calibration_set_carries_the_names_of_its_classes(work: Path) -> None:
    command = ["calibrate-data", "colours.onnx", "--data", "photos?preprocessing=steps.toml", "-o", "picked", "-n", "3", "-q"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert bundle("colours.onnx", "--data", "picked/")["labels"] == ["blue", "green", "red"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("n.txt", "cat\ndog\n\n", ("cat", "dog")),
        ("n.txt", "\ufeffcat\r\ndog", ("cat", "dog")),
        ("n.json", '["cat", "dog"]', ("cat", "dog")),
        ("n.json", '{"1": "dog", "0": "cat"}', ("cat", "dog")),
        ("n.json", '{"id2label": {"0": "cat", "1": "dog"}, "model_type": "x"}', ("cat", "dog")),
        ("n.json", '{"cat": 0, "dog": 1}', ("cat", "dog")),
    ],
)
def test_class_names_are_read_in_every_usual_form(tmp_path: Path, name: str, text: str, expected: tuple[str, ...]) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_labels(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *[
            ("n.json", text.encode())
            for text in ('{"0": "cat", "2": "dog"}', "[1, 2]", '"cat"', "{", "[" * 99999, '{"a": [0]}')
        ],
        ("n.txt", b""),
        ("n.txt", b"cat\n\ndog\n"),
        ("n.txt", b"\xff\xfe"),
        ("missing.txt", None),
    ],
)
def test_class_names_that_are_none_are_one_line(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as found:
        read_labels(tmp_path / name)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("content", "task"),
    [
        ('{"architectures": ["BertForTokenClassification"]}', "token-classification"),
        ('{"architectures": ["BertModel"]}', None),
        ('{"architectures": 3}', None),
        ("[", None),
    ],
)
def test_the_class_of_a_model_says_its_task(content, task, tmp_path):
    (tmp_path / "config.json").write_text(content, encoding="utf-8")
    assert task_beside(tmp_path) == task


def test_a_class_that_two_names_share_is_no_list_of_names(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text('{"cat": 0, "dog": 0}', encoding="utf-8")
    with pytest.raises(DataError, match="does not number the classes from 0 on"):
        read_labels(tmp_path / "labels.json")


def test_options_of_another_kind_in_a_tokenizer_count_as_none(work: Path) -> None:
    (work / "tokenizer.json").write_text('{"truncation": 5, "padding": [1]}', encoding="utf-8")
    made = tokenizer_input(Tokenizer(work / "tokenizer.json"), files.signature(files.load(work / "tokens.onnx")))
    assert (made.max_length, made.padding) == (128, 0)
