"""Shards of the calibration data: consecutive, counted, sent and read back."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest

from edgeopt.errors import DataError, InternalError, MachineError
from edgeopt.quantize.calibrate.calibrator import Progress
from edgeopt.quantize.calibrate.shards import Shard, _failure, _received, _send, merged
from edgeopt.quantize.calibrate.statistics import TensorStatistics


def batches(count: int = 7):
    return [{"x": np.full((2, 3), number, np.float32)} for number in range(count)]


class Streamed:
    """Batches that can only be iterated over."""

    def __init__(self, content):
        self.content = content

    def __len__(self):
        return len(self.content)

    def __iter__(self):
        return iter(self.content)


@pytest.mark.parametrize("kind", [list, Streamed])
def test_a_shard_is_its_run_of_the_batches(kind):
    shard = Shard(kind(batches()), 2, 5, {"x": 0})
    assert len(shard) == 3
    assert [batch["x"][0, 0] for batch in shard] == [2, 3, 4]
    assert shard.first_sample == 4


def test_states_merge_in_their_order():
    states = []
    for low, high in ((-1.0, 1.0), (-3.0, 0.5)):
        statistics = TensorStatistics(4, low, high)
        states.append(Progress({"x": statistics}, samples=2, batches=1))
    found = merged(states)
    assert (found.samples, found.batches) == (4, 2)
    assert (found.statistics["x"].count, found.statistics["x"].minimum, found.statistics["x"].maximum) == (8, -3.0, 1.0)


@pytest.mark.parametrize(("code", "last", "kind"), [
    (2, "DataError sample 3: NaN", DataError),
    (-9, "", MachineError),
    (3, "Traceback: what", InternalError),
])  # fmt: skip
def test_a_failed_worker_is_an_error_of_its_own_class(code, last, kind):
    found = _failure(code, last)
    assert type(found) is kind and str(found).endswith(last.removeprefix("DataError ") or "--memory-limit")


def test_what_is_sent_is_received(monkeypatch):
    stream = io.BytesIO()
    batch = {"x": np.arange(6, dtype=np.float32).reshape(3, 2).T, "flag": np.array(True)}
    _send(stream, batch)
    stream.seek(0)
    header = json.loads(stream.readline())
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=stream))
    for name, (dtype, shape) in header.items():
        np.testing.assert_array_equal(_received(dtype, shape), batch[name])
    with pytest.raises(SystemExit, match="the process that sends the batches has ended"):
        _received("<f4", [1])
