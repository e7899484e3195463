"""The core works without torch and all other optional packages; what is missing is named with the line that installs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeopt.errors import MachineError
from edgeopt.extras import EXTRAS, missing_extra, need

HIDE = f"""
import sys
for name in {sorted(EXTRAS)!r}:
    sys.modules[name] = None  # what Python itself takes for "cannot be imported"
"""


def command(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run edgeopt where no optional package can be imported."""
    program = f"{HIDE}\nsys.argv = ['edgeopt', *{arguments!r}]\nfrom edgeopt.cli import main\nmain()"
    return subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with model.onnx, samples.npz, texts.csv and a folder of images."""
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 8] x) => (float[n, 4] y) { y = Gemm (x, w) }'
    )
    generator = np.random.default_rng(0)
    model.graph.initializer.append(numpy_helper.from_array(generator.standard_normal((8, 4)).astype(np.float32), "w"))
    onnx.save(model, tmp_path / "model.onnx")
    np.savez(tmp_path / "samples.npz", x=generator.standard_normal((16, 8)).astype(np.float32))
    (tmp_path / "texts.csv").write_text("text\nhello\n", encoding="utf-8")
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"")
    return tmp_path


def test_an_onnx_file_is_quantized_profiled_bundled_and_verified_by_the_core(folder: Path) -> None:
    for arguments in (
        ["quantize", "model.onnx", "--calibration", "samples.npz", "-o", "int8.onnx", "-q"],
        ["profile", "model.onnx", "int8.onnx", "--data", "samples.npz", "--seconds", "0.5", "-q", "--report", "page"],
        ["bundle", "int8.onnx", "--data", "samples.npz", "-o", "bundle"],
        ["verify", "bundle"],
    ):
        done = command(arguments, folder)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
    assert not (folder / "page" / "report.html").exists()
    assert (folder / "page" / "report.md").is_file()


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["export", "some-model", "-o", "out"], "torch"),
        (["distill", "--help"], ""),
        (["quantize", "model.onnx", "--calibration", "texts.csv", "--tokenizer", ".", "-o", "int8.onnx"], "text"),
        (["quantize", "model.onnx", "--calibration", "images?preprocessing=p.toml", "-o", "int8.onnx"], "images"),
        (["quantize", "model.onnx", "--calibration", "hub:mnist", "-o", "int8.onnx"], "datasets"),
        (["run", "quickstart", "--out", "run"], "torch"),
    ],
)
def test_a_missing_package_is_named_with_the_line_that_installs_it(folder: Path, arguments: list[str], extra: str) -> None:
    (folder / "p.toml").write_text("width = 8\nheight = 8\nmean = [0.0]\nscale = [1.0]\n", encoding="utf-8")
    done = command(arguments, folder)
    assert done.returncode == (2 if extra else 0), done.stderr
    if extra:
        (line,) = [text for text in done.stderr.splitlines() if "pip install" in text]
        assert line.endswith(f"which is not installed; run: pip install 'edgeopt[{extra}]'")


def test_from_python_the_same_is_said(folder: Path) -> None:
    program = f"""{HIDE}
import edgeopt
try:
    edgeopt.load_model
except edgeopt.EdgeoptError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout == "this needs the package torch, which is not installed; run: pip install 'edgeopt[torch]'\n"


def test_what_is_installed_is_not_complained_about(monkeypatch: pytest.MonkeyPatch) -> None:
    need("jinja2", purpose="report.html")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MachineError, match=r"reading x needs the package datasets.*edgeopt\[datasets\]"):
        need("datasets", purpose="reading x")


def test_only_packages_of_extras_are_explained() -> None:
    assert missing_extra(ModuleNotFoundError("no", name="own_module")) is None
    found = missing_extra(ModuleNotFoundError("no", name="torch.nn"))
    assert found is not None
    assert found.exit_code == 2
