"""Samples by one text: every kind of source, and what is unknown or ambiguous."""

from __future__ import annotations

import json
import struct
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from edgeopt.data.samples import from_arrays
from edgeopt.data.source import described, kind_of, open_source
from edgeopt.data.source_options import Reader
from edgeopt.errors import DataError, EdgeoptError, MachineError, RecipeError

PREPROCESSING = 'width = 4\nheight = 2\nmean = [127.5]\nscale = [127.5]\ninput = "pixels"\n'
NO_MODEL = Reader()
TEXTS = Reader(("input_ids", "attention_mask"))


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    words = {word: number for number, word in enumerate(["?", "good", "bad", "film"])}
    made = Tokenizer(models.WordLevel(words, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    (tmp_path / "tokenizer").mkdir()
    made.save(str(tmp_path / "tokenizer" / "tokenizer.json"))
    return tmp_path / "tokenizer"


def record(file: Path, values: np.ndarray, *, rate: int = 8000, width: int = 2, channels: int = 1) -> None:
    file.parent.mkdir(exist_ok=True)
    with wave.open(str(file), "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(width)
        sound.setframerate(rate)
        scaled = np.clip(np.round(values * 2 ** (8 * width - 1)), -(2 ** (8 * width - 1)), 2 ** (8 * width - 1) - 1).astype(
            "<i4"
        )
        raw = (scaled + 128).astype(np.uint8) if width == 1 else scaled.view(np.uint8).reshape(-1, 4)[:, :width]
        sound.writeframes(raw.tobytes())


def one_line(source: str, reader: Reader = NO_MODEL) -> str:
    with pytest.raises(EdgeoptError) as caught:
        open_source(source, reader)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_images_with_classes_by_folder(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(PREPROCESSING)
    for name, shade in (("cat", 0), ("dog", 255)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (8, 4), (shade,) * 3).save(tmp_path / "photos" / name / "1.png")
    samples = open_source(f"{tmp_path}/photos?preprocessing={tmp_path}/p.toml")
    assert samples.labels is not None
    assert samples.labels.tolist() == [0, 1]
    assert samples[1]["pixels"].shape == (3, 2, 4)
    assert samples[1]["pixels"].max() == 1
    assert samples.ranges == {"pixels": (-1.0, 1.0)}
    assert "write ?preprocessing=FILE" in one_line(f"{tmp_path}/photos")


def test_folders_called_by_numbers_keep_them_and_an_empty_one_its_place(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(PREPROCESSING)
    for name in ("0", "10", "2", "1", *map(str, range(4, 10)), ".thumbnails", "notes"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        if name not in ("1", "notes"):  # one class has no image, a folder of something else is no class
            Image.new("RGB", (8, 4)).save(tmp_path / "photos" / name / "1.png")
    (tmp_path / "photos" / "notes" / "read.txt").write_text("not a class")
    samples = open_source(source := f"{tmp_path}/photos?preprocessing={tmp_path}/p.toml")
    assert samples.labels is not None and sorted(samples.labels.tolist()) == [0, 2, 4, 5, 6, 7, 8, 9, 10]
    assert list(samples.names) == list(map(str, range(11)))
    assert described(source, samples).labels == list(samples.names)
    for name in ("b", "a", "c"):
        (tmp_path / "named" / name).mkdir(parents=True)
    Image.new("RGB", (8, 4)).save(tmp_path / "named" / "c" / "1.png")
    named = open_source(f"{tmp_path}/named?preprocessing={tmp_path}/p.toml")
    assert (list(named.names), named.labels is not None and named.labels.tolist()) == (["a", "b", "c"], [2])


def test_the_preprocessing_of_transformers_is_understood(tmp_path: Path) -> None:
    options = {
        "image_processor_type": "X", "do_center_crop": True, "crop_size": {"height": 4, "width": 4},
        "size": {"shortest_edge": 6},
        "image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.2, 0.1], "rescale_factor": 1 / 255, "resample": 2,
    }  # fmt: skip
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(options))
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (12, 6), (255, 0, 51)).save(tmp_path / "photos" / "1.jpg", quality=100)
    source = f"{tmp_path}/photos?preprocessing={tmp_path}/preprocessor_config.json"
    pixels = open_source(source, Reader(("x",)))[0]["x"]
    assert pixels.shape == (3, 4, 4)
    np.testing.assert_allclose(pixels.mean(axis=(1, 2)), [1.0, -2.0, -1.0], atol=0.1)
    assert "which model input does it feed? the model has a, b" in one_line(source, Reader(("a", "b")))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**options, "resample": 4}))
    assert "resampling 4 is not supported" in one_line(source, Reader(("x",)))


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_texts_of_tables(tmp_path: Path, tokenizer: Path, suffix: str) -> None:
    rows = [{"id": "1", "review": "good film", "stars": "five"}, {"id": "2", "review": 'bad, "bad" film', "stars": "one"}]
    path = tmp_path / f"reviews.{suffix}"
    if suffix == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows))
    else:
        mark = "," if suffix == "csv" else "\t"
        quoted = [mark.join('"' + value.replace('"', '""') + '"' for value in row.values()) for row in rows]
        path.write_text("\n".join([mark.join(rows[0]), *quoted]))
    samples = open_source(f"{path}?text=review&label=stars&tokenizer={tokenizer}", TEXTS)
    assert samples[0]["input_ids"].tolist() == [1, 3]
    assert samples[1]["attention_mask"].shape == samples[1]["input_ids"].shape
    assert samples.labels is not None
    assert samples.labels.tolist() == [0, 1]
    assert open_source(f"{path}?text=review&tokenizer={tokenizer}&max_length=1", TEXTS)[1]["input_ids"].tolist() == [2]
    assert "did you mean 'review'" in one_line(f"{path}?text=reviews&tokenizer={tokenizer}")
    assert "--tokenizer" in one_line(f"{path}?text=review")
    assert "input 'pixels' is not one that a tokenizer feeds" in one_line(
        f"{path}?text=review&tokenizer={tokenizer}", Reader(("pixels",))
    )


def test_which_column_is_the_text_is_not_guessed(tmp_path: Path, tokenizer: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"premise": "good", "question": "bad"}\n')
    assert "several are possible (premise, question): write ?text=NAME" in one_line(str(path), Reader(tokenizer=tokenizer))
    samples = open_source(f"{path}?text=premise&pair=question", Reader(tokenizer=tokenizer))
    assert samples[0]["input_ids"].tolist() == [1, 2]
    path.write_text('{"premise": "good"}\n{"premise": 3}\n')
    assert "row 1 has no text in column 'premise'" in one_line(str(path), Reader(tokenizer=tokenizer))
    path.write_text('{"premise": "good"}\n{"premise": \n')
    assert "line 2 is not JSON" in one_line(str(path), Reader(tokenizer=tokenizer))
    path.write_text("")
    assert "no rows" in one_line(str(path), Reader(tokenizer=tokenizer))


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_recordings_of_every_width(tmp_path: Path, width: int) -> None:
    values = np.sin(np.linspace(0, 20, 400)) * 0.9
    record(tmp_path / "speech" / "a.wav", values, width=width)
    samples = open_source(f"{tmp_path}/speech", Reader(("audio",)))
    np.testing.assert_allclose(samples[0]["audio"], values, atol=2.0 ** (1 - 8 * width) + 1e-6)
    assert samples[0]["audio"].dtype == np.float32


def test_recordings_are_cut_filled_normalised_but_never_resampled(tmp_path: Path) -> None:
    record(tmp_path / "speech" / "a.wav", np.full(10, 0.5))
    record(tmp_path / "speech" / "b.wav", np.linspace(-0.5, 0.5, 30))
    samples = open_source(f"{tmp_path}/speech?length=20&input=audio")
    assert [samples[index]["audio"].shape for index in range(2)] == [(20,), (20,)]
    assert samples[0]["audio"][10:].tolist() == [0.0] * 10
    normal = open_source(f"{tmp_path}/speech?normalise=true&input=audio")[1]["audio"]
    assert float(normal.std()) == pytest.approx(1, abs=1e-3)
    assert "sampling rate 8,000 Hz, 16,000 Hz is needed" in one_line(f"{tmp_path}/speech?rate=16000&input=audio")
    record(tmp_path / "speech" / "c.wav", np.zeros(40), channels=2)
    with pytest.raises(DataError, match=r"c\.wav: 2 channels"):
        open_source(f"{tmp_path}/speech?input=audio")[2]
    (tmp_path / "speech" / "c.wav").write_bytes(b"RIFF no wave")
    assert "not a .wav file of integers" in one_line(f"{tmp_path}/speech?input=audio")


def test_unknown_and_ambiguous_sources_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "did you mean 'digits'" in one_line("digit")
    (tmp_path / "digits").mkdir()
    assert "also a folder here: write './digits'" in one_line("digits")
    assert "no samples in this folder (it holds nothing)" in one_line("./digits")
    (tmp_path / "digits" / "a.npy").write_bytes(b"")
    (tmp_path / "digits" / "a.png").write_bytes(b"")
    assert "the folder holds arrays and images" in one_line("./digits")
    (tmp_path / "x.orc").write_bytes(b"")
    assert "files of the kind '.orc' cannot be read" in one_line("x.orc")
    with pytest.raises(RecipeError, match=r"unknown key 'txt'.*did you mean 'text'"):
        open_source("x.csv?txt=a")
    with pytest.raises(RecipeError, match="not KEY=VALUE"):
        open_source("x.csv?text")
    assert kind_of("hub:some/name") == "dataset"
    if "datasets" not in sys.modules:
        monkeypatch.setattr("edgeopt.extras.find_spec", lambda name: None)
        with pytest.raises(MachineError, match=r"edgeopt\[datasets\]"):
            open_source("hub:some/name")


def test_real_recordings_are_read(data_folder: Callable[[str], Path]) -> None:
    folder = data_folder("fsdd") / "recordings"
    samples = open_source(f"{folder}?rate=8000", Reader(("audio",)))
    assert len(samples) == 2000
    assert 0.05 < np.abs(samples[7]["audio"]).max() <= 1


def riff(file: Path, *, claimed: int, width: int = 2) -> None:
    """Write a recording whose data chunk claims another size than it has."""
    file.parent.mkdir(exist_ok=True)
    form = struct.pack("<HHIIHH", 1, 1, 8000, 8000 * width, width, 8 * width)
    data = bytes(64)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", claimed) + data
    file.write_bytes(b"RIFF" + struct.pack("<I", min(len(body), 2**32 - 1)) + body)


@pytest.mark.parametrize(
    ("claimed", "width", "said"),
    [(4_000_000_000, 2, "ends early"), (640, 2, "ends early"), (64, 6, "samples of 48 bits"), (64, 0, "not a .wav file")],
)
def test_recordings_whose_header_lies_are_refused(tmp_path: Path, claimed: int, width: int, said: str) -> None:
    riff(tmp_path / "speech" / "a.wav", claimed=claimed, width=width)
    with pytest.raises(DataError, match=said) as caught:
        open_source(f"{tmp_path}/speech?input=x", Reader(("x",)))[0]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.jsonl", b'{"text": "a", "label": 1e999}\n', "no class"),
        ("t.jsonl", b'{"text": "\\ud800"}\n', "row 0 has no text"),
        ("t.jsonl", b"[" * 100_000, "line 1 is nested too deeply"),
        ("t.csv", b"a,b\n1,2,3\n", "which column is the text.*it has: a, b"),
        ("t.csv", b'text\n"open\n', "not a table"),
    ],
)
def test_tables_that_nobody_means_are_refused(tmp_path: Path, tokenizer: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        open_source(f"{tmp_path / name}", Reader(("input_ids",), tokenizer))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\nbroken", b"BM" + bytes(60), b"RIFF\x00\x00\x00\x00WEBPVP8 "])
def test_images_that_cannot_be_read_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.toml").write_text(PREPROCESSING)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.png").write_bytes(content)
    samples = open_source(f"{tmp_path}/photos?preprocessing={tmp_path}/p.toml")
    with pytest.raises(DataError, match=r"1\.png: not an image that can be read"):
        samples[0]


def test_a_table_that_names_files_describes_images_and_recordings(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "p.toml").write_text('kind = "image"\nwidth = 4\nheight = 4\nmean = [0.0]\nscale = [255.0]\n')
    (tmp_path / "seen.csv").write_text("file,label\na.png,cat\n")
    source, reader = f"{tmp_path}/seen.csv?image=file&preprocessing={tmp_path}/p.toml", Reader(("x",))
    assert described(source, open_source(source, reader), reader).preprocessing.kind == "image"
    samples = from_arrays({"x": np.zeros((1, 8), np.float32)})
    heard = described(f"{tmp_path}/seen.csv?audio=file&text=label&rate=16000", samples, reader)
    assert (heard.preprocessing.kind, heard.reader) == ("audio", "arrays")
    tokens = from_arrays({"input_ids": np.zeros((1, 8), np.int64)})
    assert described(f"{tmp_path}/seen.csv", tokens, reader).preprocessing.kind == "tokenizer"
