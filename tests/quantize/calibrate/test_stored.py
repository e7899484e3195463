"""Statistics in a file: whole, damaged, of something else."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edgeopt.errors import DataError, IntegrityError
from edgeopt.quantize.calibrate.calibrator import Progress
from edgeopt.quantize.calibrate.statistics import MovingAverage, TensorStatistics
from edgeopt.quantize.calibrate.stored import difference, read_progress, resumed, write_progress

KEY = {"model": "a" * 64, "data": "b" * 64, "options": {"momentum": 0.9}, "versions": {"numpy": "2"}}


@pytest.fixture
def path(tmp_path):
    statistics = TensorStatistics(12, -1.5, 2.5, MovingAverage(0.9, -1.0, 2.0, 0.75, 3))
    file = tmp_path / "seen.part"
    write_progress(file, KEY, Progress({"x": statistics}, samples=4, batches=2))
    return file


def test_what_was_written_is_read(path):
    key, state = read_progress(path)
    assert key == KEY and (state.samples, state.batches) == (4, 2)
    found = state.statistics["x"]
    assert (found.count, found.minimum, found.maximum) == (12, -1.5, 2.5)
    assert (found.moving.momentum, found.moving.low, found.moving.batches) == (0.9, -1.0, 3)


def test_a_changed_number_is_noticed(path):
    with_metadata = path.read_bytes()
    length = int.from_bytes(with_metadata[:8], "little")
    metadata = json.loads(with_metadata[8 : 8 + length])["__metadata__"]
    arrays = load_file(path)
    arrays["seen/x/moments"] = arrays["seen/x/moments"] + 1
    save_file(arrays, path, metadata)
    with pytest.raises(IntegrityError, match="delete it, or name another file"):
        read_progress(path)


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_another_file_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"not a (whole )?calibration cache"):
        read_progress(path)


def test_a_killed_pass_is_resumed_only_if_it_is_of_the_same_things(path, tmp_path):
    assert resumed(path, KEY).samples == 4
    assert resumed(path, {**KEY, "model": "c" * 64}) is None
    assert resumed(tmp_path / "none.part", KEY) is None
    path.write_bytes(b"damaged")
    assert resumed(path, KEY) is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, ""),
        ({"model": "c" * 64}, "another model (SHA-256 aaaaaaaaaaaa… there, cccccccccccc… here)"),
        ({"options": {"momentum": 0.5}}, "other options: momentum 0.9 there, 0.5 here"),
        ({"versions": {"numpy": "2", "onnx": "1"}}, "other versions: onnx None there, 1 here"),
    ],
)
def test_a_difference_says_what_differs(change, says):
    assert difference(KEY, {**KEY, **change}) == says


def test_every_float_survives(path):
    state = read_progress(path)[1]
    state.statistics["x"].minimum = float(np.nextafter(np.float32(-1.5), np.float32(0)))
    write_progress(path, KEY, state)
    assert read_progress(path)[1].statistics["x"].minimum == state.statistics["x"].minimum
