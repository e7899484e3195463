"""The wheel: only `edgeopt` at its top, everything it needs inside, and it runs outside the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

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
