"""What a command names: folders, files, bundles of another kind, options."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeopt.errors import MachineError, ModelError, RecipeError
from edgeopt.generate.engine.errors import CacheError
from edgeopt.generate.faults import engine_errors
from edgeopt.generate.opening import open_engine, read_sampling


def test_a_folder_and_its_file_are_the_same_model(portable: Path) -> None:
    assert open_engine(portable).described == open_engine(portable / "model.onnx", threads=1).described


def test_a_bundle_of_another_kind_is_refused_by_its_task(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text('{"task": "image-classification"}')
    with pytest.raises(ModelError, match="is a bundle for image-classification, not for text generation"):
        open_engine(tmp_path)
    (tmp_path / "bundle.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        open_engine(tmp_path)


def test_options_from_a_command_line() -> None:
    assert read_sampling({"stop": "x", "top_k": 3}).stop == ("x",)
    assert read_sampling({"stop": ["x", "y"]}).stop == ("x", "y")
    with pytest.raises(RecipeError, match="did you mean 'top_p'"):
        read_sampling({"topp": 1.0})


def test_no_memory_is_the_machines_fault() -> None:
    with pytest.raises(MachineError, match="full"), engine_errors():
        raise CacheError("full")
