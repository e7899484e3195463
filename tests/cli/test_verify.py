"""`edgeopt verify`: a bundle is right until a byte is flipped; what it says, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser

from tests.cli.conftest import SMALL, edgeopt_here


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a small model."""
    folder = tmp_path_factory.mktemp("made")
    onnx.save(parser.parse_model(SMALL), folder / "model.onnx")
    np.savez(folder / "data.npz", x=np.ones((4, 16), np.float32))
    done = edgeopt_here("bundle", str(folder / "model.onnx"), "--data", str(folder / "data.npz"), "-o", str(folder / "b"), "-q")
    assert done.returncode == 0, done.stderr
    return folder / "b"


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "b")


def test_a_bundle_that_is_right_says_each_check(bundle: Path) -> None:
    done = edgeopt_here("verify", str(bundle))
    assert (done.returncode, done.stderr) == (0, "")
    *checks, verdict = done.stdout.splitlines()
    assert verdict == "b: passed"
    assert len(checks) > 3 and all(": " in line for line in checks)
    values = json.loads(edgeopt_here("verify", str(bundle), "--format", "json").stdout)
    assert [check["name"] for check in values["checks"]] == [line.split()[1].rstrip(":") for line in checks]


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz", "bundle.json", "README.md", "example.py"])
def test_a_bundle_verifies_until_a_byte_is_flipped(bundle: Path, name: str) -> None:
    path = bundle / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    damaged = edgeopt_here("verify", str(bundle), "--format", "json")
    assert damaged.returncode == 1, damaged.stderr
    assert name in damaged.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--format", "markdown"], "--format markdown: choose table, json"),
        (["--budget", "fast"], "--budget fast: not a number of ms above 0, nor 'recorded'"),
        (["--budget", "0"], "--budget 0: not a number of ms above 0"),
    ],
)
def test_wrong_options_are_one_line(bundle: Path, options: list[str], said: str) -> None:
    done = edgeopt_here("verify", str(bundle), *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr and len(done.stderr.strip().splitlines()) == 1
