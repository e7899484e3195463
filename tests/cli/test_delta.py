"""`edgeopt delta`: written between two bundles and applied."""

import json

import numpy as np
import onnx
import onnx.parser
from typer.testing import CliRunner

from edgeopt.bundle import BundleSpec, verify_bundle, write_bundle
from edgeopt.cli.app import app

TEXT = """<ir_version: 9, opset_import: ["" : 19]>
sum (float[batch, 4] x) => (float[batch, 4] y) { y = Add (x, x) }"""


def test_a_delta_is_written_and_applied(tmp_path):
    onnx.save(onnx.parser.parse_model(TEXT), tmp_path / "m.onnx")
    for name in ("old", "new"):
        golden = [{"x": np.ones((1, 4), np.float32)}]
        spec = BundleSpec(model=tmp_path / "m.onnx", name=name, task="generic", target="x86-vnni", golden=golden)
        write_bundle(spec, output=tmp_path / name)
    runner = CliRunner()
    done = runner.invoke(app, ["delta", str(tmp_path / "old"), str(tmp_path / "new"), "-o", str(tmp_path / "d")])
    assert done.exit_code == 0, done.output
    assert "parts are new" in done.output
    made = str(tmp_path / "made")
    done = runner.invoke(app, ["delta", str(tmp_path / "old"), str(tmp_path / "d"), "--apply", "-o", made])
    assert done.exit_code == 0, done.output
    assert verify_bundle(tmp_path / "made").passed
    assert json.loads((tmp_path / "made" / "bundle.json").read_text(encoding="utf-8"))["name"] == "new"
