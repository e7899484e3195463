"""A detector exported elsewhere (operator set 9, initializers among its inputs) becomes a bundle."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from edgeopt.bundle import BundleSpec, ImageInput, verify_bundle, write_bundle


@pytest.mark.data
def test_ultraface_leaves_as_a_bundle_whose_example_sees_what_its_golden_sample_saw(data_folder, tmp_path):
    folder = data_folder("ultraface_slim")
    images = sorted((folder / "imgs").glob("*.jpg"))[:3]
    golden = []
    for path in images:
        resized = Image.open(path).convert("RGB").resize((320, 240), Image.Resampling.BILINEAR)
        golden.append({"input": ((np.asarray(resized, np.float32) - 127) / 128).transpose(2, 0, 1)[None]})
    spec = BundleSpec(
        model=folder / "version-slim-320.onnx",
        name="face-detector",
        task="object-detection",
        target="x86-vnni",
        golden=golden,
        labels=("background", "face"),
        preprocessing=ImageInput(width=320, height=240, mean=[127.0], scale=[128.0]),
        files={"LICENSE.txt": folder / "LICENSE.txt"},
    )
    result = write_bundle(spec, output=tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "bundle.json").read_text(encoding="utf-8"))
    assert manifest["inputs"] == [{"name": "input", "dtype": "float32", "shape": [1, 3, 240, 320]}]
    assert result.minimum_onnxruntime == "1.7"
    assert verify_bundle(tmp_path / "out").passed
    command = [sys.executable, str(tmp_path / "out" / "example.py")]
    seen = [
        subprocess.run([*command, *more], capture_output=True, text=True, check=True, timeout=60)
        for more in ([], [str(images[0])])
    ]
    assert [done.stderr for done in seen] == ["", ""]
    recorded, own = ([float(line.split(" to ")[1]) for line in done.stdout.splitlines() if " to " in line] for done in seen)
    assert own == pytest.approx(recorded, abs=2e-2)
    assert any(line.startswith("face ") and " at [" in line for line in seen[1].stdout.splitlines())
