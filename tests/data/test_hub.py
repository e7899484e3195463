"""Data sets that `save_to_disk` wrote and files that datasets reads: images, arrays and texts, with their labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeopt import extras
from edgeopt.data.annotations import SpanTruth
from edgeopt.data.source import open_source
from edgeopt.data.source_options import Reader
from edgeopt.errors import DataError, MachineError

STEPS = "width = 2\nheight = 2\nmean = [127.5]\nscale = [127.5]\n"
PIXELS = Reader(("pixels",))
TEXTS = ("input_ids", "attention_mask")


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The package datasets, which writes its cache into a temporary folder and asks no server."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("HF_HOME", str(tmp_path_factory.mktemp("hub"))), ("HF_HUB_OFFLINE", "1")):
            patch.setenv(name, value)
        yield pytest.importorskip("datasets", reason="the extra [datasets] is not installed")


def stored(datasets: Any, folder: Path, columns: dict[str, Any], **features: Any) -> str:
    """Write a data set into `folder`; `features` are the kinds of the columns that are not plain."""
    plain = {name: features.get(name) for name in columns}
    kinds = datasets.Features(plain) if all(plain.values()) else None
    datasets.Dataset.from_dict(columns, features=kinds).save_to_disk(str(folder))
    return str(folder)


@pytest.fixture
def photos(datasets: Any, tmp_path: Path) -> str:
    """A red image of class dog and a blue one of class cat."""
    images = [Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    (tmp_path / "p.toml").write_text(STEPS)
    return stored(datasets, tmp_path / "photos", {"image": images, "label": [1, 0]}, **kinds)


def test_images_go_through_the_preprocessing_and_keep_their_classes(photos: str, tmp_path: Path) -> None:
    samples = open_source(f"{photos}?preprocessing={tmp_path}/p.toml", PIXELS)
    assert samples[0]["pixels"][:, 0, 0].tolist() == [1.0, -1.0, -1.0]
    assert samples.labels is not None
    assert (samples.labels.tolist(), samples.names) == ([1, 0], ("cat", "dog"))
    assert samples.ranges == {"pixels": (-1.0, 1.0)}
    (tmp_path / "p.toml").write_text(STEPS.replace("scale = [127.5]", "scale = [255.0]"))
    assert open_source(f"{photos}?preprocessing={tmp_path}/p.toml", PIXELS).digest != samples.digest


def test_classes_are_numbered_as_the_models_are(photos: str, tmp_path: Path) -> None:
    source = f"{photos}?preprocessing={tmp_path}/p.toml"
    turned = open_source(source, Reader(("pixels",), names=("Dog", "bird", "Cat")))
    assert turned.labels is not None
    assert turned.labels.tolist() == [0, 2]
    for names in (("LABEL_0", "LABEL_1"), ("A", "B")):  # placeholders, and other names: the numbers count
        kept = open_source(source, Reader(("pixels",), names=names))
        assert kept.labels is not None and kept.labels.tolist() == [1, 0]


def test_the_models_own_preprocessing_and_a_stated_input_are_used(photos: str, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "preprocessing.toml").write_text(STEPS)
    assert open_source(photos, Reader(("pixels",), folder=model))[1]["pixels"].shape == (3, 2, 2)
    with pytest.raises(DataError, match=r"images need a size and normalisation"):
        open_source(photos, PIXELS)
    (tmp_path / "p.toml").write_text(STEPS + 'input = "b"\n')
    assert set(open_source(f"{photos}?preprocessing={tmp_path}/p.toml", Reader(("a", "b")))[0]) == {"b"}
    (tmp_path / "p.toml").write_text(STEPS)
    with pytest.raises(DataError, match="which model input does it feed"):
        open_source(f"{photos}?preprocessing={tmp_path}/p.toml", Reader(("a", "b")))


def test_labels_that_are_texts_are_numbered_and_a_wrong_column_is_named(datasets: Any, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(STEPS)
    images = [Image.new("RGB", (4, 4))] * 2
    kinds = {"image": datasets.Image(), "kind": datasets.Value("string")}
    photos = stored(datasets, tmp_path / "s", {"image": images, "kind": ["dog", "cat"]}, **kinds)
    source = f"{photos}?preprocessing={tmp_path}/p.toml"
    assert open_source(source, PIXELS).labels is None
    samples = open_source(f"{source}&label=kind", PIXELS)
    assert samples.labels is not None and samples.labels.tolist() == [1, 0]
    with pytest.raises(DataError, match=r"no column 'kinds' \(did you mean 'kind'\?\); it has: kind"):
        open_source(f"{source}&label=kinds", PIXELS)
    two = stored(datasets, tmp_path / "two", {"a": images, "b": images}, a=datasets.Image(), b=datasets.Image())
    with pytest.raises(DataError, match=r"several columns hold images \(a, b\)"):
        open_source(f"{two}?preprocessing={tmp_path}/p.toml", PIXELS)


def test_columns_called_as_inputs_are_arrays_with_their_labels(datasets: Any, tmp_path: Path) -> None:
    columns = {"x": [[1.0, 2.0], [3.0, 4.0]], "y": [1, 2], "label": [1, 0], "score": [0.5, 2.5]}
    place = stored(datasets, tmp_path / "arrays", columns)
    samples = open_source(place, Reader(("x",)))
    assert samples[1]["x"].tolist() == [3.0, 4.0] and samples[1]["x"].dtype == np.float32
    assert samples.labels is not None and samples.labels.tolist() == [1, 0]
    assert set(open_source(place, Reader(("x", "y")))[0]) == {"x", "y"}
    assert open_source(f"{place}?label=score", Reader(("x",))).annotations == [0.5, 2.5]
    assert open_source(place, Reader(("x", "label"))).labels is None, "what the model takes is no label"


def test_texts_are_read_as_those_of_a_table(datasets: Any, tmp_path: Path, word_tokenizer: Path) -> None:
    kinds = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    place = stored(datasets, tmp_path / "texts", {"text": ["good film", "bad"], "label": [1, 0]}, **kinds)
    samples = open_source(place, Reader(TEXTS, word_tokenizer))
    assert samples[0]["input_ids"].tolist() == [1, 3, 5, 2]
    assert samples.labels is not None
    assert (samples.labels.tolist(), samples.names) == ([1, 0], ("neg", "pos"))
    turned = open_source(place, Reader(TEXTS, word_tokenizer, names=("POS", "NEG")))
    assert turned.labels is not None and turned.labels.tolist() == [0, 1]
    with pytest.raises(DataError, match="--tokenizer"):
        open_source(place, Reader(TEXTS))


def test_a_split_without_labels_is_read_and_a_gap_is_named(datasets: Any, tmp_path: Path, word_tokenizer: Path) -> None:
    kinds = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    place = stored(datasets, tmp_path / "hidden", {"text": ["good", "bad"], "label": [-1, -1]}, **kinds)
    assert open_source(place, Reader(TEXTS, word_tokenizer)).labels is None
    with pytest.raises(DataError, match="row 0 has no label in column 'label'"):
        open_source(f"{place}?label=label", Reader(TEXTS, word_tokenizer))
    partly = stored(datasets, tmp_path / "partly", {"text": ["good", "bad"], "label": [1, -1]}, **kinds)
    with pytest.raises(DataError, match="row 1 has no label in column 'label'"):
        open_source(partly, Reader(TEXTS, word_tokenizer))


def test_questions_have_their_answers(datasets: Any, tmp_path: Path, word_tokenizer: Path) -> None:
    answers = [{"text": ["good fox"], "answer_start": [4]}]
    columns = {"question": ["who sleeps"], "context": ["the good fox sleeps"], "answers": answers}
    place = stored(datasets, tmp_path / "squad", columns)
    samples = open_source(place, Reader((*TEXTS, "token_type_ids"), word_tokenizer, task="question-answering"))
    assert samples.annotations == [SpanTruth(5, 6, ("good fox",))]


def test_a_split_is_named_where_there_are_several(datasets: Any, tmp_path: Path, word_tokenizer: Path) -> None:
    parts = {name: datasets.Dataset.from_dict({"text": [text]}) for name, text in (("train", "good"), ("test", "bad film"))}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "both"))
    reader = Reader(TEXTS, word_tokenizer)
    assert open_source(f"{tmp_path}/both?split=test", reader)[0]["input_ids"].tolist() == [1, 4, 5, 2]
    for query in ("", "?split=tset"):
        with pytest.raises(DataError, match=r"which split\? write \?split=NAME; it has: train, test"):
            open_source(f"{tmp_path}/both{query}", reader)


def test_a_file_is_read_by_its_suffix(datasets: Any, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("".join(json.dumps({"x": [row, row + 0.5]}) + "\n" for row in range(3)))
    assert open_source(f"hub:{tmp_path}/x.jsonl", Reader(("x",)))[2]["x"].tolist() == [2.0, 2.5]
    with pytest.raises(DataError, match=r"none\.jsonl: the data set cannot be loaded"):
        open_source(f"hub:{tmp_path}/none.jsonl", Reader(("x",)))


def test_files_and_folders_on_disk_need_no_prefix_but_may_have_it(datasets: Any, tmp_path: Path) -> None:
    place = stored(datasets, tmp_path / "kept", {"x": [[1.0, 2.0], [3.0, 4.0]]})
    datasets.Dataset.from_dict({"x": [[5.0, 6.0]]}).to_parquet(str(tmp_path / "x.parquet"))
    assert open_source(f"hub:{place}", Reader(("x",)))[1]["x"].tolist() == [3.0, 4.0]
    assert open_source(f"{tmp_path}/x.parquet", Reader(("x",)))[0]["x"].tolist() == [5.0, 6.0]


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(MachineError, match=r"hub:some/name.*edgeopt\[datasets\]"):
        open_source("hub:some/name")
