"""Statistics in a file: the same again, refused for anything else, taken up after a kill, shared out to processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors import safe_open

from edgeopt.errors import DataError, MachineError
from edgeopt.graph.files import as_ir, signature
from edgeopt.quantize import QuantizeConfig
from edgeopt.quantize.calibrate import cache as cache_module
from edgeopt.quantize.calibrate.calibrator import Observations, ObserveConfig
from edgeopt.quantize.calibrate.observe import observe
from edgeopt.quantize.stage import draft

TENSORS = ["x", "a", "r", "f", "y"]
CHANNELS = {"r": 1, "f": -1}


def look(model: onnx.ModelProto, batches: object, **config: object) -> Observations:
    kept = ObserveConfig(**config)  # type: ignore[arg-type]
    return observe(as_ir(model), batches, TENSORS, signature=signature(as_ir(model)), channels=CHANNELS, config=kept)


def assert_same(got: Observations, expected: Observations, *, exact: bool = True) -> None:
    """Compare; what is a sum of floats is only compared to the last digits where `exact` is false, and rows not at all."""
    assert (got.samples, got.batches) == (expected.samples, expected.batches)
    tolerance = 0 if exact else 1e-12
    for name, wanted in expected.tensors.items():
        found = got.tensors[name]
        assert (found.count, found.minimum, found.maximum) == (wanted.count, wanted.minimum, wanted.maximum), name
        assert found.moving.range == pytest.approx(wanted.moving.range, rel=tolerance)
        np.testing.assert_array_equal(found.histogram.counts, wanted.histogram.counts, name)
        if wanted.channels is not None:
            np.testing.assert_array_equal(found.channels.extremes, wanted.channels.extremes)
            np.testing.assert_allclose(found.channels.mean, wanted.channels.mean, rtol=tolerance, atol=tolerance)
        if wanted.sample is not None and exact:
            np.testing.assert_array_equal(found.sample.rows, wanted.sample.rows)


def test_what_is_read_is_what_was_written(conv_model, images, tmp_path):
    path = tmp_path / "cache.safetensors"
    made = look(conv_model, images, cache=path)
    assert_same(made, look(conv_model, images))
    assert_same(look(conv_model, images, cache=path), made)
    with safe_open(path, framework="numpy") as file:  # readable by others
        assert file.get_tensor("seen/r/moments")[0] == made.tensors["r"].count
        assert json.loads(file.metadata()["calibration"])["key"]["options"]["momentum"] == 0.9
    assert sorted(item.name for item in tmp_path.iterdir()) == ["cache.safetensors"]


def test_anything_else_is_refused_with_the_reason(conv_model, images, tmp_path, monkeypatch):
    path = tmp_path / "cache.safetensors"
    look(conv_model, images, cache=path)
    with pytest.raises(DataError, match="of other calibration data"):
        look(conv_model, images[:2], cache=path)
    with pytest.raises(DataError, match=r"of other options: momentum 0\.9 there, 0\.5 here"):
        look(conv_model, images, cache=path, momentum=0.5)
    changed = onnx.ModelProto()
    changed.CopyFrom(conv_model)
    changed.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.ones((8, 3, 3, 3), np.float32), "w1"))
    with pytest.raises(DataError, match="of another model"):
        look(changed, images, cache=path)
    monkeypatch.setattr(cache_module, "version", lambda name: "9.9")
    with pytest.raises(DataError, match=r"other versions: edgeopt .* there, 9\.9 here"):
        look(conv_model, images, cache=path)


@pytest.mark.parametrize("ranges", ["mse", "moving-average"])
def test_a_cache_serves_runs_with_other_ranges(conv_model, saved, vnni, tmp_path, ranges):
    generator = np.random.default_rng(0)
    batches = [{"x": generator.standard_normal((2, 3, 16, 16)).astype(np.float32)} for _ in range(12)]
    path, config = saved(conv_model), QuantizeConfig(cache=tmp_path / "c.safetensors", collapse_db=None)
    draft(path, batches, target=vnni, config=config)  # holds three batches aside
    config = config.model_copy(update={"ranges": ranges})
    cached = draft(path, batches, target=vnni, config=config)
    alone = draft(path, batches, target=vnni, config=config.model_copy(update={"cache": None}))
    ends = [np.array([(item.low, item.high) for item in plan.tensors]) for plan in (cached, alone)]
    assert ends[0].shape[0] > 3
    # the moving average meets the batches in another order
    np.testing.assert_allclose(ends[0], ends[1], rtol=0.0 if ranges == "mse" else 0.2)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", None])
def test_a_file_that_is_no_cache_is_refused(conv_model, images, tmp_path, content):
    path = tmp_path / "cache.safetensors"
    if content is None:
        look(conv_model, images, cache=path)
        content = path.read_bytes()[:-40]
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a whole calibration cache"):
        look(conv_model, images, cache=path)


@pytest.mark.parametrize("limit", [None, 40_000])
def test_shards_give_what_one_pass_gives(conv_model, images, limit):
    assert_same(look(conv_model, images, jobs=2, memory_limit_bytes=limit), look(conv_model, images), exact=False)


def test_an_error_in_a_shard_names_the_sample_among_all(conv_model, images):
    images[2]["x"][1, 0, 0, 0] = np.nan
    with pytest.raises(DataError, match="calibration sample 6, input 'x'"):
        look(conv_model, images, jobs=2)


class Stops(list):
    """Batches that end with an error after some."""

    def __iter__(self):
        yield from self[:5]
        raise KeyboardInterrupt


def test_a_pass_that_was_interrupted_goes_on(conv_model, images, tmp_path, monkeypatch):
    batches = [{"x": images[index % 3]["x"] + index} for index in range(8)]
    key = cache_module.data_digest(batches)
    monkeypatch.setattr(cache_module, "data_digest", lambda _: key)
    monkeypatch.setattr(cache_module, "EVERY", 2)
    path = tmp_path / "cache.safetensors"
    with pytest.raises(KeyboardInterrupt):
        look(conv_model, Stops(batches), cache=path)
    assert (tmp_path / "cache.safetensors.part").is_file()
    assert not path.exists()
    seen = []
    monkeypatch.setattr(cache_module.progress, "note", seen.append)
    assert_same(look(conv_model, batches, cache=path), look(conv_model, batches))
    assert "goes on after" in seen[0]


_KILLED = """
import os, signal, sys, onnx, numpy as np
from pathlib import Path
from edgeopt.graph.files import as_ir
from edgeopt.graph.files import signature
from edgeopt.quantize.calibrate import cache
from edgeopt.quantize.calibrate.calibrator import ObserveConfig
from edgeopt.quantize.calibrate.observe import observe
cache.EVERY = 1
model = onnx.load(sys.argv[1])
batches = [{"x": np.load(sys.argv[2])[index : index + 1]} for index in range(6)]
class Slow(list):
    def __iter__(self):
        for number, batch in enumerate(list.__iter__(self)):
            if number == 4 and sys.argv[4] == "kill" and Path(sys.argv[3] + ".part").exists():
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch
observe(as_ir(model), Slow(batches), ["x", "r"], signature=signature(as_ir(model)), channels={"r": 1},
        config=ObserveConfig(cache=Path(sys.argv[3])))
"""


def test_a_killed_process_is_taken_up_where_it_was(conv_model, tmp_path):
    onnx.save_model(conv_model, tmp_path / "model.onnx")
    np.save(tmp_path / "x.npy", np.random.default_rng(3).standard_normal((6, 3, 16, 16), dtype=np.float32))

    def run(cache: Path, how: str) -> int:
        arguments = [str(tmp_path / "model.onnx"), str(tmp_path / "x.npy"), str(cache), how]
        return subprocess.run([sys.executable, "-c", _KILLED, *arguments], check=False, env=os.environ).returncode

    assert run(tmp_path / "killed", "kill") == -signal.SIGKILL
    assert (tmp_path / "killed.part").is_file()
    assert run(tmp_path / "killed", "go on") == 0
    assert run(tmp_path / "whole", "go on") == 0
    assert (tmp_path / "killed").read_bytes() == (tmp_path / "whole").read_bytes()
    assert not (tmp_path / "killed.part").exists()


def test_shards_keep_their_states_beside_the_cache(conv_model, images, tmp_path):
    path = tmp_path / "cache.safetensors"
    made = look(conv_model, images, cache=path, jobs=2)
    assert_same(made, look(conv_model, images), exact=False)
    assert_same(look(conv_model, images, cache=path), made)
    assert list(tmp_path.iterdir()) == [path]


def test_named_histograms_and_the_order_of_tensors_come_through_processes(conv_model, images):
    some = frozenset({"r", "x"})
    one, two = (look(conv_model, images, jobs=jobs, histograms=some) for jobs in (1, 2))
    assert list(two.tensors) == list(one.tensors) == TENSORS
    assert [name for name, item in two.tensors.items() if item.histogram is not None] == ["x", "r"]


def test_a_full_disk_in_a_worker_is_the_machines_fault(conv_model, images, tmp_path, monkeypatch):
    worker = """
import errno, sys
from edgeopt import files
def full(path): raise OSError(errno.ENOSPC, "No space left on device")
files.flush = full
from edgeopt.quantize.calibrate.shards import work; work()
"""
    monkeypatch.setattr("edgeopt.quantize.calibrate.shards._WORKER", worker)
    with pytest.raises(MachineError, match="the disk is full"):
        look(conv_model, images, jobs=2, cache=tmp_path / "cache.safetensors")
