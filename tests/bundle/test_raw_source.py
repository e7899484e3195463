"""Raw inputs of a source: the files and sentences themselves, the first ones, none too large to travel."""

import numpy as np
from PIL import Image

from edgeopt.bundle import raw_golden
from edgeopt.bundle.raw_source import raw_of_source


def test_images_of_class_folders(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for index in range(2):
            Image.new("RGB", (2, 2)).save(tmp_path / name / f"{index}.png")
    found = raw_of_source(str(tmp_path), 3)
    assert [sample.suffix for sample in found] == [".png"] * 3


def test_recordings_and_texts(tmp_path):
    (tmp_path / "speech").mkdir()
    (tmp_path / "speech" / "a.wav").write_bytes(raw_golden.wav(np.zeros(10), 8000))
    assert raw_of_source(f"{tmp_path}/speech?rate=8000", 3)[0].content[:4] == b"RIFF"
    table = tmp_path / "pairs.csv"
    table.write_text("question,context\nwho?,Ada did.\nwhere?,here\n", encoding="utf-8")
    assert raw_of_source(f"{table}?text=question&pair=context", 1)[0].text == ("who?", "Ada did.")
    assert raw_of_source(str(table), 1)[0].text == ("who?", "Ada did."), "as the samples of the same table are pairs"
    headless = tmp_path / "pairs.tsv"
    headless.write_text("0024\t2.500\tthe fox sleeps now\tthe bad fox sleeps\n", encoding="utf-8")
    assert raw_of_source(str(headless), 1)[0].text == ("the fox sleeps now", "the bad fox sleeps")


def test_tagged_words_labelled_lines_and_images_of_annotations(tmp_path):
    (tmp_path / "a.conll").write_text("Ada\tB-PER\nmet\tO\n\nParis\tB-LOC\n", encoding="utf-8")
    assert [sample.text for sample in raw_of_source(str(tmp_path / "a.conll"), 2)] == ["Ada met", "Paris"]
    (tmp_path / "lines.test").write_text("1 a good film\n0 dull\n", encoding="utf-8")
    assert [sample.text for sample in raw_of_source(str(tmp_path / "lines.test"), 5)] == ["a good film", "dull"]
    for kind in ("images", "labels"):
        (tmp_path / "yolo" / kind).mkdir(parents=True)
    Image.new("RGB", (2, 2)).save(tmp_path / "yolo" / "images" / "0.png")
    (tmp_path / "yolo" / "labels" / "0.txt").write_text("0 0.5 0.5 1 1\n", encoding="utf-8")
    assert [sample.suffix for sample in raw_of_source(str(tmp_path / "yolo"), 3)] == [".png"]


def test_arrays_hold_no_raw_inputs_and_large_files_stay_at_home(tmp_path, monkeypatch):
    np.savez(tmp_path / "x.npz", x=np.zeros(3))
    assert raw_of_source(str(tmp_path / "x.npz"), 3) is None
    monkeypatch.setattr(raw_golden, "_LARGEST_BYTES", 100)
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "0.jpg").write_bytes(b"x" * 101)
    (folder / "1.jpg").write_bytes(b"x" * 99)
    assert len(raw_of_source(str(folder), 3)) == 1


def test_texts_of_a_json_array(tmp_path):
    (tmp_path / "t.json").write_text('[{"text": "a film", "label": 1}, {"text": "a play", "label": 0}]', encoding="utf-8")
    assert [sample.text for sample in raw_of_source(str(tmp_path / "t.json"), 2) or ()] == ["a film", "a play"]
