from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgeopt.quantize.config import TrainingOptions
from edgeopt.quantize.training.checkpoint import Checkpoint, Phase, PhaseProgress, key_of

_KEPT = {"w": torch.arange(4.0), "s": torch.tensor(0.5)}
_NOW = {"w": torch.arange(4.0) + 1, "s": torch.tensor(0.25)}


def _written(path: Path) -> PhaseProgress:
    state = PhaseProgress(
        Phase.BLOCKS, blocks=2, start=10.0, best=12.5, told=["12.5 by a"], seconds=3.0, rounding=["a", "b", "c"]
    )
    Checkpoint(path, "key").save(state, _KEPT, _NOW, always=True)
    return state


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    state = _written(tmp_path / "state")
    found = Checkpoint(tmp_path / "state", "key").load()
    assert found is not None
    assert found[0] == state
    for read, wanted in zip(found[1:], (_KEPT, _NOW), strict=True):
        assert {name: tensor.tolist() for name, tensor in read.items()} == {
            name: tensor.tolist() for name, tensor in wanted.items()
        }


def test_the_state_of_another_training_is_not_taken(tmp_path: Path) -> None:
    _written(tmp_path / "state")
    assert Checkpoint(tmp_path / "state", "other").load() is None
    assert Checkpoint(tmp_path / "none", "key").load() is None
    assert Checkpoint(None, "key").load() is None


@pytest.mark.parametrize("where", [20, -3])
def test_a_damaged_file_is_not_taken(tmp_path: Path, where: int) -> None:
    _written(tmp_path / "state")
    content = bytearray((tmp_path / "state").read_bytes())
    content[where] ^= 0x10
    (tmp_path / "state").write_bytes(content)
    assert Checkpoint(tmp_path / "state", "key").load() is None


def test_it_is_not_written_after_every_block(tmp_path: Path) -> None:
    Checkpoint(tmp_path / "state", "key").save(PhaseProgress(), _KEPT)
    assert not (tmp_path / "state").exists()


def test_the_key_tells_networks_samples_and_options_apart_but_not_times() -> None:
    samples = [{"x": np.ones((1, 2), np.float32)}]
    keys = [
        key_of(_KEPT, samples, TrainingOptions(time=5)),
        key_of(_NOW, samples, TrainingOptions(time=5)),
        key_of(_KEPT, [{"x": np.zeros((1, 2), np.float32)}], TrainingOptions(time=5)),
        key_of(_KEPT, samples, TrainingOptions(time=5, batch_size=3)),
    ]
    assert len(set(keys)) == 4
    assert key_of(_KEPT, samples, TrainingOptions(time=50, checkpoint=Path("a"))) == keys[0]
