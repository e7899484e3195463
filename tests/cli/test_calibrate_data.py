"""`edgeopt calibrate-data`: a set of the shell, what its manifest says, and sets that quantize takes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import parser
from PIL import Image

from tests.cli.conftest import edgeopt_here

GREY = """
<ir_version: 10, opset_import: ["" : 20]>
grey (float[batch, 1, 4, 4] x) => (float[batch, 1, 4, 4] y) { y = Relu(x) }
"""
IMAGES = np.random.default_rng(0).uniform(-1, 1, (40, 16)).astype(np.float32)


@pytest.fixture(autouse=True)
def _here(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small)
    np.savez("pool.npz", x=IMAGES, labels=np.arange(40) % 4)


def manifest(folder: str) -> dict[str, Any]:
    return tomllib.loads((Path(folder) / "manifest.toml").read_text(encoding="utf-8"))


def test_evaluation_samples_are_left_out_and_quantize_takes_the_set() -> None:
    np.savez("held.npz", x=IMAGES[30:])
    made = edgeopt_here(
        "calibrate-data", "model.onnx", "--data", "pool.npz", "--evaluation", "held.npz", "-n", "8", "-o", "set"
    )
    assert made.returncode == 0, made.stderr
    assert "set: 8 samples, picked from 30 (coverage)\n" in made.stdout
    assert "warning: the manifest does not state the licence of the data" in made.stderr
    picked = manifest("set")["picked"]
    assert all(item["index"] < 30 and item["label"] == item["index"] % 4 for item in picked)
    quantized = edgeopt_here("quantize", "model.onnx", "--calibration", "set", "-t", "x86-vnni", "-o", "int8.onnx", "-q")
    assert quantized.returncode == 0, quantized.stderr
    assert "8 samples" in quantized.stdout


def test_origin_licence_and_seed_are_those_given() -> None:
    command = ("calibrate-data", "model.onnx", "--data", "pool.npz", "-n", "6", "--choose", "random", "-q")
    stated = ("--origin", "our cameras", "--licence", "CC0")
    for folder, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        done = edgeopt_here(*command, *stated, "-o", folder, "--seed", seed)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    first, again, other = (manifest(folder) for folder in "abc")
    assert (first["origin"], first["licence"]) == ("our cameras", "CC0")
    assert first["picked"] == again["picked"] != other["picked"]


def test_a_set_hands_on_what_its_manifest_says_and_spares_its_evaluation_split() -> None:
    np.savez("calibration.npz", x=IMAGES)
    np.savez("evaluation.npz", x=IMAGES[:35])
    splits = "".join(
        f'[splits.{name}]\npath = "{name}.npz"\ncount = {count}\n' for name, count in (("calibration", 40), ("evaluation", 35))
    )
    facts = 'description = "x"\norigin = "made here"\nlicence = "CC0"\nreader = "arrays"\ntask = "image-classification"\n'
    inputs = '[[inputs]]\nname = "x"\ndtype = "float32"\nshape = [16]\n'
    Path("manifest.toml").write_text(f'{facts}labels = ["a", "b"]\n{inputs}{splits}', encoding="utf-8")
    done = edgeopt_here("calibrate-data", "model.onnx", "--data", "./", "-n", "4", "--licence", "MIT", "-o", "picked", "-q")
    assert done.returncode == 0, done.stderr
    assert "picked: 4 samples, picked from 5 (coverage)" in done.stdout
    found = manifest("picked")
    assert (found["origin"], found["licence"]) == ("made here", "MIT"), "what is given counts before what the set says"
    assert (found["task"], found["labels"]) == ("image-classification", ["a", "b"])
    assert all(item["index"] >= 35 for item in found["picked"])


def test_classes_and_preprocessing_of_images_are_kept() -> None:
    generator = np.random.default_rng(0)
    for name in ("dog", "cat"):
        Path("photos", name).mkdir(parents=True)
        for number in range(2):
            Image.fromarray(generator.integers(0, 256, (4, 4), np.uint8)).save(f"photos/{name}/{number}.png")
    Path("p.toml").write_text('width = 4\nheight = 4\ncolour = "GREY"\nmean = [0.0]\nscale = [255.0]\n')
    onnx.save(parser.parse_model(GREY), "grey.onnx")
    data = "photos?preprocessing=p.toml"
    done = edgeopt_here("calibrate-data", "grey.onnx", "--data", data, "-n", "2", "--choose", "random", "-o", "set", "-q")
    assert done.returncode == 0, done.stderr
    found = manifest("set")
    assert found["labels"] == ["cat", "dog"]
    assert (found["preprocessing"]["colour"], found["preprocessing"]["scale"]) == ("GREY", [255.0])
    assert sorted(item["label"] for item in found["picked"]) == [0, 1], "one of each class"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--choose", "best"], "'coverage' or 'random'"),
        (["-n", "41"], "41 samples were requested, but only 40 of 40"),
        (["--evaluation", "none.npz"], "none.npz: no such calibration data"),
    ],
)
def test_what_cannot_be_picked_is_one_line(arguments: list[str], said: str) -> None:
    done = edgeopt_here("calibrate-data", "model.onnx", "--data", "pool.npz", "-o", "set", "-q", *arguments)
    assert done.returncode == 2
    assert said in done.stderr and not Path("set").exists()
