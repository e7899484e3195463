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


def test_arrays_hold_no_raw_inputs_and_large_files_stay_at_home(tmp_path, monkeypatch):
    np.savez(tmp_path / "x.npz", x=np.zeros(3))
    assert raw_of_source(str(tmp_path / "x.npz"), 3) is None
    monkeypatch.setattr(raw_golden, "_LARGEST_BYTES", 100)
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "0.jpg").write_bytes(b"x" * 101)
    (folder / "1.jpg").write_bytes(b"x" * 99)
    assert len(raw_of_source(str(folder), 3)) == 1
