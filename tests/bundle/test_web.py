"""The JavaScript template, under Node: its reader of .npz alone, and whole where the npm package onnxruntime-web is at hand."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgeopt._folders import shipped
from edgeopt.bundle import write_bundle

WEB = shipped("deploy") / "templates" / "web"


@pytest.fixture(scope="module")
def node():
    path = shutil.which("node")
    if (
        path is None
        or int(subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout[1:].split(".")[0]) < 20
    ):
        pytest.skip("Node 20 or later is not installed")
    return path


def run(node, arguments, cwd):
    return subprocess.run([node, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120, cwd=cwd)


def test_arrays_are_read_as_numpy_wrote_them(node, tmp_path):
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3) / 7,
        "b": np.array([-(2**60), 2**60], np.int64),
        "c": np.array(2.5),
        "d": np.array([[1, 255]], np.uint8),
    }
    np.savez(tmp_path / "plain.npz", **arrays)
    np.savez_compressed(tmp_path / "packed.npz", **arrays)
    script = f"""
        import {{ readFile }} from "node:fs/promises";
        const {{ readNpz }} = await import({json.dumps((WEB / "bundle.mjs").as_uri())});
        const read = await readNpz(new Uint8Array(await readFile(process.argv[1])));
        console.log(JSON.stringify([...read].map(([k, v]) => [k, v.type, v.shape, [...v.data].map(String)])));
    """
    for name in ("plain.npz", "packed.npz"):
        done = run(node, ["--input-type=module", "-e", script, tmp_path / name], tmp_path)
        assert done.returncode == 0, done.stderr
        for key, dtype, shape, values in json.loads(done.stdout):
            want = arrays[key]
            assert (dtype, tuple(shape)) == (want.dtype.name, want.shape)
            np.testing.assert_array_equal(np.array(values).astype(want.dtype), want.ravel())


def test_the_whole_bundle_is_verified_by_onnxruntime_web(node, make_spec, tmp_path):
    place = os.environ.get("EDGEOPT_NODE_MODULES")
    if not place or not (Path(place) / "onnxruntime-web").is_dir():
        pytest.skip("the npm package onnxruntime-web is not at hand (set EDGEOPT_NODE_MODULES to its node_modules)")
    out = tmp_path / "out"
    write_bundle(make_spec(), output=out)
    good = run(node, [WEB / "verify.mjs", out], Path(place).parent)
    assert (good.returncode, good.stdout.count("passed")) == (0, 3), good.stdout + good.stderr
    for name, said in (("model.onnx", "model.onnx: its SHA-256"), ("bundle.json", "bundle.json: its SHA-256")):
        data = (out / name).read_bytes()
        (out / name).write_bytes(
            data.replace(b"student", b"studenT") if name == "bundle.json" else data[:-1] + bytes([data[-1] ^ 1])
        )
        bad = run(node, [WEB / "verify.mjs", out], Path(place).parent)
        assert (bad.returncode, said in bad.stdout) == (1, True), bad.stdout + bad.stderr
        (out / name).write_bytes(data)
    assert run(node, [WEB / "verify.mjs", tmp_path], Path(place).parent).returncode == 2
