"""`edgeopt pack`, `unpack` and `delta` on bundles in folders and in files."""

import numpy as np
import onnx
import onnx.parser
import pytest
from typer.testing import CliRunner

from edgeopt.bundle import BundleSpec, verify_bundle, write_bundle
from edgeopt.cli.app import app

TEXT = """<ir_version: 9, opset_import: ["" : 19]>
sum (float[batch, 4] x) => (float[batch, 4] y) { y = Add (x, x) }"""


@pytest.fixture
def bundle(tmp_path):
    onnx.save(onnx.parser.parse_model(TEXT), tmp_path / "m.onnx")
    golden = [{"x": np.ones((1, 4), np.float32)}]
    spec = BundleSpec(model=tmp_path / "m.onnx", name="sum", task="generic", target="x86-vnni", golden=golden)
    write_bundle(spec, output=tmp_path / "bundle")
    return tmp_path / "bundle"


def call(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_bundle_is_packed_verified_and_unpacked(bundle, tmp_path):
    call("pack", bundle, "-o", tmp_path / "b.zip")
    assert "passed" in call("verify", tmp_path / "b.zip")
    call("unpack", tmp_path / "b.zip", "-o", tmp_path / "out")
    assert verify_bundle(tmp_path / "out").passed
