"""The wheel: only `edgeopt` at its top, everything it needs inside, and it runs outside the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

ROOT = Path(__file__).resolve().parent.parent
NEEDED = [
    "edgeopt/py.typed",
    "edgeopt/recipes/quickstart.toml",
    "edgeopt/_shipped/calibration_data/digits/manifest.toml",
    "edgeopt/_shipped/deploy/targets/x86-vnni.toml",
    "edgeopt/_shipped/deploy/runner/measure.py",
    "edgeopt/_shipped/deploy/runner/verify.py",
    "edgeopt/_shipped/deploy/templates/python/example.py",
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def tracked() -> list[str]:
    """Return the repository's files that belong into the wheel, under their names there."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    top = {
        "exporters": "edgeopt/_shipped/exporters",
        "calibration_data": "edgeopt/_shipped/calibration_data",
        "deploy": "edgeopt/_shipped/deploy",
    }
    names = []
    for name in listed:
        first, _, rest = name.partition("/")
        if first == "edgeopt":
            names.append(name)
        elif first in top and rest:
            names.append(f"{top[first]}/{rest}")
    return names


def test_the_wheel_holds_edgeopt_alone_and_all_of_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names} == {"edgeopt", f"edgeopt-{wheel.name.split('-')[1]}.dist-info"}
    assert not [name for name in NEEDED if name not in names]
    assert not [name for name in tracked() if name not in names and (ROOT / name).exists()]


def test_the_installed_wheel_lists_its_recipes_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    program = (
        f"import sys; sys.path.insert(0, {str(site)!r}); sys.argv = ['edgeopt', 'recipes']\n"
        "import edgeopt.cli; print(edgeopt.__file__); edgeopt.cli.main()"
    )
    result = subprocess.run([sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.startswith(str(site))
    assert "quickstart" in result.stdout


def fresh_environment(folder: Path, wheel: Path) -> Path:
    """Return the interpreter of a new environment that holds the wheel and what its core depends on."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
    python = folder / "bin" / "python"
    quiet = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([python, *quiet, str(wheel)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the package index cannot give what the core depends on: {done.stderr.splitlines()[-1][:200]}")
    return python


@pytest.mark.slow
def test_the_core_alone_takes_an_onnx_file_to_a_verified_bundle(wheel: Path, tmp_path: Path) -> None:
    python = fresh_environment(tmp_path / "environment", wheel)
    absent = (
        "import importlib.util as u; print(sorted(n for n in ('torch', 'transformers', 'jinja2', 'PIL') if u.find_spec(n)))"
    )
    assert subprocess.run([python, "-c", absent], capture_output=True, text=True, check=True).stdout == "[]\n"
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 8] x) => (float[n, 4] y) { y = Gemm (x, w) }'
    )
    generator = np.random.default_rng(0)
    model.graph.initializer.append(numpy_helper.from_array(generator.standard_normal((8, 4)).astype(np.float32), "w"))
    onnx.save(model, tmp_path / "model.onnx")
    np.savez(tmp_path / "samples.npz", x=generator.standard_normal((16, 8)).astype(np.float32))
    for arguments in (
        ["quantize", "model.onnx", "--calibration", "samples.npz", "-o", "int8.onnx"],
        ["profile", "model.onnx", "int8.onnx", "--data", "samples.npz", "--seconds", "0.5"],
        ["bundle", "int8.onnx", "--data", "samples.npz", "-o", "bundle"],
        ["verify", "bundle"],
    ):
        command = [python, "-m", "edgeopt", *arguments, *(["-q"] if arguments[0] in {"quantize", "profile"} else [])]
        done = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
