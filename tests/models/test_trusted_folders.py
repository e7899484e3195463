"""A folder written with code that the user named loads again by itself; changed, moved or with other code it does not."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from edgeopt.errors import ModelError
from edgeopt.models.load import Origin, load_model
from edgeopt.models.save import check_saved, save_model

_NETS = "import torch\n\ndef net(width=3):\n    return torch.nn.Linear(2, width)\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with the user's code, and a cache of its own."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "own_nets.py").write_text(_NETS, encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.path", [entry for entry in sys.path if entry])
    monkeypatch.delitem(sys.modules, "own_nets", raising=False)
    save_model(load_model("own_nets:net").module, folder / "saved", origin=Origin("own_nets:net", {}))
    monkeypatch.delitem(sys.modules, "own_nets")
    return folder


def test_a_folder_that_was_written_here_names_its_builder(here: Path) -> None:
    assert isinstance(load_model(here / "saved").module, nn.Linear)


def test_a_copy_of_it_does_not_and_the_message_says_how(here: Path) -> None:
    shutil.copytree("saved", "copy")
    with pytest.raises(ModelError, match=r"--builder own_nets:net"):
        load_model("copy")
    assert isinstance(load_model("copy", source_builder="own_nets:net").module, nn.Linear)


def test_a_changed_record_does_not(here: Path) -> None:
    record = here / "saved" / "model.json"
    record.write_text(
        record.read_text(encoding="utf-8").replace('"arguments": {}', '"arguments": {"width": 4}'), encoding="utf-8"
    )
    with pytest.raises(ModelError, match="was not written here by you"):
        load_model("saved")


def test_code_of_that_name_from_another_folder_does_not(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = here / "strange"
    other.mkdir()
    (other / "own_nets.py").write_text("raise SystemExit('ran')", encoding="utf-8")
    monkeypatch.chdir(other)
    monkeypatch.setattr("sys.path", [entry for entry in sys.path if entry != str(here)])
    with pytest.raises(ModelError, match="was not written here by you"):
        load_model(here / "saved")


def test_notes_of_folders_that_are_gone_go_and_a_home_that_is_read_only_is_no_error(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin, notes = Origin("own_nets:net", {}), here.parent / "cache" / "edgeopt" / "builders"
    shutil.rmtree("saved")
    save_model(nn.Linear(2, 3), here / "next", origin=origin)
    assert len(list(notes.iterdir())) == 1
    (here / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "file"))
    save_model(nn.Linear(2, 3), here / "third", origin=origin)
    with pytest.raises(ModelError, match="--builder"):
        load_model("third")


def test_a_builder_that_gives_other_outputs_each_time_is_found_after_saving(here: Path) -> None:
    (here / "own_nets.py").write_text(
        "import torch\n\nclass Net(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.lost, self.layer = torch.rand(2), torch.nn.Linear(2, 3)\n"
        "    def forward(self, x):\n        return self.layer(x * self.lost)\n",
        encoding="utf-8",
    )
    origin, sample = Origin("own_nets:Net", {}), {"x": np.ones((1, 2), np.float32)}
    module = load_model("own_nets:Net").module
    save_model(module, here / "saved", origin=origin)
    with pytest.raises(ModelError, match="gives other outputs than the model"):
        check_saved(module, here / "saved", origin, sample)
