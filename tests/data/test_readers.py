"""Readers: names of files and tables as labels, processor files of a model's folder, whole texts in windows."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeopt.data.source import open_source
from edgeopt.data.source_options import Reader
from edgeopt.errors import DataError


def record(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(40))


def test_labels_in_the_names_of_files_or_folders(tmp_path: Path) -> None:
    for name in ("7_ann_0.wav", "3_bob_1.wav", "7_bob_2.wav"):
        record(tmp_path / "spoken" / name)
    samples = open_source(f"{tmp_path}/spoken?label_pattern=^([0-9])_&input=x")
    assert samples.labels is not None
    assert (samples.labels.tolist(), samples.names) == ([0, 1, 1], ("3", "7"))
    with pytest.raises(DataError, match="its name does not match"):
        open_source(f"{tmp_path}/spoken?label_pattern=^([a-z])_&input=x")
    with pytest.raises(DataError, match="its name does not match"):
        open_source(f"{tmp_path}/spoken?label_pattern=(x)?ann|bob&input=x")
    with pytest.raises(DataError, match="has no group"):
        open_source(f"{tmp_path}/spoken?label_pattern=ann&input=x")
    for word in ("yes", "no"):
        (tmp_path / "words").mkdir(exist_ok=True)
        record(tmp_path / "words" / word / "a.wav")
    by_folder = open_source(f"{tmp_path}/words?input=x", Reader(names=("yes", "no")))
    assert by_folder.labels is not None
    assert by_folder.labels.tolist() == [1, 0]


def test_a_models_processor_file_says_how_images_become_inputs(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), (255, 255, 255)).save(tmp_path / "photos" / name / "1.png")
    values = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 4, "width": 4},
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    samples = open_source(f"{tmp_path}/photos", Reader(("pixel_values",), folder=tmp_path, names=("dog", "cat")))
    assert samples[0]["pixel_values"].shape == (3, 4, 4)
    assert float(samples[0]["pixel_values"].mean()) == pytest.approx(1.0, abs=1e-5)
    assert samples.labels is not None
    assert samples.labels.tolist() == [1, 0]  # as the model numbers them, not as the folders are sorted
    with pytest.raises(DataError, match="the label 'cat' is none of the model's classes"):
        open_source(f"{tmp_path}/photos", Reader(("pixel_values",), folder=tmp_path, names=("dog", "bird")))


def test_a_table_names_images(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (4, 4)).save(tmp_path / "images" / f"{name}.png")
    (tmp_path / "p.toml").write_text('width = 4\nheight = 4\ninput = "x"\n')
    (tmp_path / "t.csv").write_text("id,class\nb,2\na.png,1\n")
    source = f"{tmp_path}/t.csv?image=id&label=class&images={tmp_path}/images&first_label=1&preprocessing={tmp_path}/p.toml"
    samples = open_source(source)
    assert samples.labels is not None
    assert samples.labels.tolist() == [1, 0]
    (tmp_path / "t.csv").write_text("id,class\nc,2\n")
    with pytest.raises(DataError, match="the table names it, and there is no such file"):
        open_source(source)


def test_a_text_becomes_windows_for_a_language_model(tmp_path: Path, word_tokenizer: Path) -> None:
    (tmp_path / "t.txt").write_text("the good fox sleeps\nthe bad fox\n")
    reader = Reader(("input_ids", "attention_mask", "position_ids"), word_tokenizer, task="text-generation")
    samples = open_source(f"{tmp_path}/t.txt?max_length=3", reader)
    assert [samples[index]["input_ids"].tolist() for index in range(len(samples))] == [[6, 3, 7], [8, 6, 4]]
    assert samples[0]["position_ids"].tolist() == [0, 1, 2]
    with pytest.raises(DataError, match="7 tokens, which is less than one window of 128"):
        open_source(f"{tmp_path}/t.txt", reader)


def test_lines_that_start_with_a_label(tmp_path: Path, word_tokenizer: Path) -> None:
    (tmp_path / "t.test").write_text("1 good film\n0 bad film\n")
    samples = open_source(f"{tmp_path}/t.test", Reader(("input_ids",), word_tokenizer))
    assert samples.labels is not None
    assert samples.labels.tolist() == [1, 0]
    assert samples[1]["input_ids"].tolist() == [1, 4, 5, 2]
    assert np.asarray(samples.labels).dtype == np.int64


def test_recordings_become_spectrograms_as_on_a_device(tmp_path: Path) -> None:
    record(tmp_path / "spoken" / "1_a.wav")
    steps = ["kind = 'audio'", "input = 'mel'", "rate = 8000", "length = 800", "channel_axes = 1", "[features]", "mels = 8"]
    (tmp_path / "p.toml").write_text("\n".join([*steps, "frame = 200", "hop = 80", "fft = 256"]) + "\n")
    samples = open_source(f"{tmp_path}/spoken?preprocessing={tmp_path}/p.toml&label_pattern=^([0-9])")
    assert samples[0]["mel"].shape == (1, 8, 11)
    assert samples[0]["mel"].dtype == np.float32
    (tmp_path / "i.toml").write_text("width = 4\nheight = 4\n")
    with pytest.raises(DataError, match="preprocessing of kind 'image', and recordings need kind = \"audio\""):
        open_source(f"{tmp_path}/spoken?preprocessing={tmp_path}/i.toml&input=x")


def test_what_is_said_is_in_letters_of_the_model(tmp_path: Path, word_tokenizer: Path) -> None:
    record(tmp_path / "a.wav")
    (tmp_path / "said.csv").write_text("file,text\na.wav,good fox\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "vocab.json").write_text(json.dumps({"<pad>": 0, "|": 1, "x": 2}))
    reader = Reader(("sound",), word_tokenizer, None, tmp_path / "model", ("LABEL_0", "LABEL_1"))
    samples = open_source(f"{tmp_path}/said.csv?audio=file&text=text", reader)
    assert samples.names == ("<pad>", "|", "x"), "names that mean nothing are not the letters"
    assert samples.annotations == ["good fox"]
    assert samples.contexts is not None
    assert samples.contexts[0].tokens == (1, 3, 7, 2)
    assert open_source(f"{tmp_path}/said.csv?audio=file&text=text", Reader(("sound",), names=("a", "b"))).names == ("a", "b")
