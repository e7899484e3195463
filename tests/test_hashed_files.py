"""Every file that is stored to be read again: a flipped bit is named, and nothing goes on from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgeopt import progress
from edgeopt.data.selection import stage as selection
from edgeopt.errors import DataError, EdgeoptError, IntegrityError
from edgeopt.graph.files import as_ir, signature
from edgeopt.hashed_files import sealed_json
from edgeopt.quantize.calibrate.calibrator import ObserveConfig
from edgeopt.quantize.calibrate.observe import observe
from edgeopt.quantize.calibrate.stored import read_progress, resumed, write_progress
from edgeopt.report.record import RunRecord, StageRecord
from edgeopt.store import Store, key_of
from edgeopt.train.checkpoint import Progress, Trained, load_checkpoint, save_checkpoint
from edgeopt.train.objective import TrainBatch
from edgeopt.train.teacher_cache import CachedTeacher
from edgeopt.train.teachers import Said

FLIPS = 60


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(progress, "note", said.append)
    return said


def damaged(path: Path) -> Iterator[int]:
    """Flip one bit of the file after another, at places spread over it, and yield the place; the file is whole afterwards."""
    whole = path.read_bytes()
    generator = np.random.default_rng(len(whole))
    places = {*range(12), *(int(place) for place in np.linspace(0, len(whole) - 1, FLIPS))}
    for place in sorted(places):
        changed = bytearray(whole)
        changed[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(changed)
        yield place
    path.write_bytes(whole)


def assert_named(path: Path, read: Callable[[], object], errors: type[EdgeoptError] | tuple[type[EdgeoptError], ...]) -> None:
    for place in damaged(path):
        with pytest.raises(errors) as caught:
            read()
        message = str(caught.value)
        assert path.name in message or path.parent.name in message, f"byte {place}: {message}"
        assert "\n" not in message
    read()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[n, 4] x) => (float[n, 4] y) { a = Relu (x) y = Neg (a) }'
    model, path = as_ir(onnx.parser.parse_model(text)), tmp_path / "seen.safetensors"
    batches = [{"x": np.random.default_rng(0).standard_normal((8, 4), np.float32)}]
    config = ObserveConfig(cache=path)
    observe(model, batches, ["x", "a"], signature=signature(model), channels={"a": 1, "x": -1}, config=config)
    return path


def test_a_calibration_cache(cache: Path) -> None:
    assert_named(cache, lambda: read_progress(cache), (DataError, IntegrityError))


def test_what_a_stopped_calibration_left(cache: Path, notes: list[str]) -> None:
    key, state = read_progress(cache)
    part = cache.with_name("seen.safetensors.part")
    write_progress(part, key, state)
    for place in damaged(part):
        notes.clear()
        assert resumed(part, key) is None, f"byte {place}"
        assert "calibration starts again" in notes[0]
        assert str(part) in notes[0]
    assert resumed(part, key) is not None


def test_a_training_checkpoint(tmp_path: Path, notes: list[str]) -> None:
    model, path = nn.Linear(4, 3).to(torch.bfloat16), tmp_path / "training.safetensors"
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 4, dtype=torch.bfloat16)).sum().backward()
    optimizer.step()
    trained = Trained(model, optimizer)
    save_checkpoint(path, trained, Progress(step=7))
    for place in damaged(path):
        notes.clear()
        assert load_checkpoint(path, trained) is None, f"byte {place}"
        assert f"{path}: damaged" in notes[0] or f"{path}: its SHA-256 is missing" in notes[0]
    state = load_checkpoint(path, trained)
    assert state is not None
    assert state.step == 7
    assert load_checkpoint(path, trained, key="another") is None
    assert "of another training" in notes[-1]


def test_the_record_of_a_run(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    record = RunRecord("a", {"seed": 3}, "host", (StageRecord("quantize", "ab", "made", 1.5, {"samples": 8, "name": "é"}),))
    path.write_text(record.to_json(), encoding="utf-8")
    assert_named(path, lambda: RunRecord.from_json(path.read_bytes(), where=str(path)), (DataError, IntegrityError))


def test_an_artifact_and_its_record(tmp_path: Path) -> None:
    store, ingredients = Store(tmp_path), {"stage": "s"}
    key = key_of(ingredients)
    (store.workspace("s", key).output / "made.bin").write_bytes(bytes(range(256)))
    folder = store.finish("s", ingredients, {"facts": 1}, 2.0).folder
    for name in ("made.bin", "artifact.json"):
        assert_named(folder / name, lambda: store.find("s", key), IntegrityError)


def test_what_a_stopped_choice_of_samples_left(tmp_path: Path, notes: list[str]) -> None:
    made, features = tmp_path / "made.json", tmp_path / "features-000000.safetensors"
    made.write_text(json.dumps(sealed_json({"key": {"data": "d", "options": {"seed": 1}}})))
    vectors = np.random.default_rng(0).standard_normal((5, 3), np.float32)
    selection.keep_features(features, vectors)
    for place in damaged(made):
        notes.clear()
        assert selection.recorded_key(made) is None, f"byte {place}"
        assert str(made) in notes[0]
    for place in damaged(features):
        notes.clear()
        assert selection.kept_features(features) is None, f"byte {place}"
        assert str(features) in notes[0]
    assert selection.recorded_key(made) == {"data": "d", "options": {"seed": 1}}
    np.testing.assert_array_equal(selection.kept_features(features), vectors)


def test_what_a_teacher_said(tmp_path: Path, notes: list[str]) -> None:
    """The index begins a new cache where it is damaged; a damaged answer is asked for again."""

    class Teacher:
        def said(self, batch: TrainBatch) -> Said:
            rows = torch.tensor([[index + 0.5, -1.0] for index in batch.indices])
            return Said({"logits": rows}, {"layer": rows[:, None, :1].repeat(1, 2, 96)})

    def opened(folder: Path) -> CachedTeacher:
        return CachedTeacher(Teacher(), folder, key="k", size=(1, 4))

    batch = TrainBatch({"attention_mask": torch.ones(4, 2, dtype=torch.int64)}, (0, 1, 2, 3))
    whole = tmp_path / "whole"
    cache = opened(whole)
    said = cache.said(batch)
    cache.flush()
    assert len(list(whole.iterdir())) == 3
    for file in sorted(whole.iterdir()):
        content = file.read_bytes()
        for place in damaged(file):
            notes.clear()
            shutil.copytree(whole, tmp_path / "copy")
            again = opened(tmp_path / "copy")
            read = again.said(batch)
            assert torch.equal(read.outputs["logits"], said.outputs["logits"]), f"{file.name}, byte {place}"
            assert torch.equal(read.recorded["layer"], said.recorded["layer"]), f"{file.name}, byte {place}"
            assert again.figures.computed == 1 and str(tmp_path / "copy") in notes[0], f"{file.name}, byte {place}"
            shutil.rmtree(tmp_path / "copy")
        assert file.read_bytes() == content
    again = opened(whole)
    again.said(batch)
    assert again.figures.read == 1
