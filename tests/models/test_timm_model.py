"""timm needs a torchvision that does not fit our torch: `benchmarks/export/peers.sh FOLDER timm` makes a place for it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from edgeopt.errors import MachineError
from edgeopt.models.load import load_model

MAKE = """
import sys, timm
model = timm.create_model(sys.argv[2], pretrained=False, num_classes=7)
timm.models.save_for_hf(model, sys.argv[1], model_config={"num_classes": 7}, safe_serialization=True)
"""


@pytest.fixture(scope="module")
def interpreter() -> str:
    """Return the Python of an environment with timm (``EDGEOPT_TIMM``), or skip."""
    python = os.environ.get("EDGEOPT_TIMM", "")
    if not Path(python).is_file():
        pytest.skip("EDGEOPT_TIMM names no Python with timm; benchmarks/export/peers.sh FOLDER timm makes one")
    return python


@pytest.mark.parametrize("name", ["resnet10t", "test_vit"])
def test_a_folder_that_timm_saved_is_exported(tmp_path, interpreter, name):
    subprocess.run([interpreter, "-W", "ignore", "-c", MAKE, tmp_path / "saved", name], check=True)
    command = [interpreter, "-W", "ignore", "-m", "edgeopt", "export", tmp_path / "saved", "-o", tmp_path / "out", "-q"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "compared with PyTorch" in shown.stdout
    assert (tmp_path / "out" / "model.onnx").is_file()


def test_weights_that_do_not_fit_and_unknown_names_are_told(tmp_path, interpreter):
    subprocess.run([interpreter, "-W", "ignore", "-c", MAKE, tmp_path, "resnet10t"], check=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architecture": "resnet18"}))
    for source, words in ((tmp_path, "weights do not fit resnet18"), ("timm:resnet18x", "did you mean 'resnet18'")):
        command = [interpreter, "-W", "ignore", "-m", "edgeopt", "export", source, "-o", tmp_path / "out"]
        refused = subprocess.run(command, check=False, capture_output=True, text=True)
        assert refused.returncode == 2 and words in refused.stderr


def test_without_timm_the_error_says_so(tmp_path):
    try:
        import timm  # noqa: F401
    except ImportError:
        (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18"}))
        for source in (str(tmp_path), "timm:resnet18"):
            with pytest.raises(MachineError, match="needs timm"):
                load_model(source)
    else:
        pytest.skip("timm is installed here")
