"""What the apps' command lines say: one line for what is missing, nothing where the caller reads no more."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeopt.bundle import BundleSpec, write_bundle
from edgeopt.bundle.deploy import Platform, deploy_bundle


@pytest.fixture
def app(make_spec: Callable[[], BundleSpec], tmp_path: Path) -> Path:
    """A Python project of a bundle of arrays."""
    write_bundle(make_spec(), output=tmp_path / "bundle")
    return deploy_bundle(tmp_path / "bundle", Platform.PYTHON, output=tmp_path / "app").path


def test_a_missing_file_is_named_once(app: Path) -> None:
    command = [sys.executable, "-P", "-m", "app", "none.npz", "x.npz"]
    done = subprocess.run(command, cwd=app, env={"PYTHONPATH": "."}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "none.npz: no such file\nx.npz: no such file\n")


@pytest.mark.skipif(shutil.which("head") is None, reason="head is not installed")
def test_answers_may_be_read_in_part(app: Path) -> None:
    words = ["app/bundle/golden/000.npz"] * 1500
    command = ["sh", "-c", '"$0" -P -m app --json "$@" | head -n 1', sys.executable, *words]
    done = subprocess.run(
        command, cwd=app, env={"PYTHONPATH": ".", "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert json.loads(done.stdout)["input"] == words[0]


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_arrays_recorded_in_part_are_compared_in_part(app: Path, tmp_path: Path) -> None:
    project = deploy_bundle(tmp_path / "bundle", Platform.NODE, output=tmp_path / "node").path
    script = """
    const { disagreement } = await import(process.argv[1]);
    const answer = (values, more) => ({ kind: "arrays", arrays: { y: { dtype: "float32", shape: [7], values, ...more } } });
    for (const last of [7, 8]) console.log(disagreement(answer([1, 2, 3, 4, 5, 6, last]), answer([1, 4, 7], { step: 3 })));
    """
    command = ["node", "--input-type=module", "-e", script, (project / "decoding.mjs").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "null" and "8" in done.stdout.splitlines()[1], done.stderr
