"""torch.load inside the block unpickles tensors only, and the switch is put back."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch

from edgeopt.models.no_pickles import no_pickles

SWITCH = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


class Evil:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


def test_a_library_that_asks_for_pickles_gets_none(tmp_path: Path) -> None:
    torch.save(Evil(tmp_path / "evil"), tmp_path / "weights.bin")
    with no_pickles(), pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "weights.bin", weights_only=False)
    assert not (tmp_path / "evil").exists()


def test_tensors_are_still_read(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "weights.bin")
    with no_pickles():
        assert torch.equal(torch.load(tmp_path / "weights.bin", weights_only=False)["w"], torch.ones(2))


@pytest.mark.parametrize("before", [None, "0"])
def test_the_switch_is_put_back_after_an_error_too(monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    if before is None:
        monkeypatch.delenv(SWITCH, raising=False)
    else:
        monkeypatch.setenv(SWITCH, before)
    with pytest.raises(RuntimeError, match="stop"), no_pickles():
        assert os.environ[SWITCH] == "1"
        raise RuntimeError("stop")
    assert os.environ.get(SWITCH) == before
