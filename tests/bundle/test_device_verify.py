"""verify.py as a program: damaged and crafted bundles get one line and the right exit status, within a time limit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import pytest

from edgeopt.bundle import verify_bundle, write_bundle
from edgeopt.bundle.spec import Origin
from edgeopt.bundle.verify import device_verify, device_verify_path
from edgeopt.device_code import inference
from edgeopt.errors import ModelError

_ENDLESS = """
<ir_version: 9, opset_import: ["" : 19]>
classify (float[batch, 4] pixels) => (float[batch, 3] logits) {
    start = MatMul (pixels, weight)
    trips = Constant <value_int = 9223372036854775807> ()
    going = Constant <value = bool {1}> ()
    logits = Loop (trips, going, start) <body = again (int64 n, bool on, float[batch, 3] old) => (bool on2, float[batch, 3] new)
        { on2 = Identity (on)  new = Identity (old) }>
}
"""


@pytest.fixture
def bundle(make_spec, tmp_path: Path) -> Path:
    write_bundle(make_spec(), output=tmp_path / "out")
    return tmp_path / "out"


def run(*arguments: str | bytes, script: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(script or device_verify_path()), *arguments]
    return subprocess.run(command, capture_output=True, text=True, errors="surrogateescape", check=False, timeout=120)


def reseal(folder: Path) -> None:
    """Make every hash of a changed bundle right, as a forger would."""
    code = device_verify()
    manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    for entry in manifest["files"]:
        entry["sha256"], entry["size_bytes"] = code.sha256(folder / entry["path"]), (folder / entry["path"]).stat().st_size
    if manifest.get("origins"):
        manifest["origins"][-1]["sha256"] = code.sha256(folder / "model.onnx")
        manifest["origins"] = inference("provenance").chained(manifest["origins"])
    (folder / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    (folder / "SHA256SUMS").write_text(code.sums_text(code.sha256(folder / "bundle.json"), manifest["files"]), encoding="utf-8")


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"\x93NUMPY\x09\x00",
        npy("("),
        npy("'''"),
        npy("{'descr': '<f4'}"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': 4, }"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4), }", b"1234"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000000), }", b"1234"),
        npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", b"1234"),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"1234"),
        npy("{'descr': '<U9', 'fortran_order': False, 'shape': (1, 4), }", b"x" * 144),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", b"1234"),
    ],
)
def test_a_crafted_golden_archive_fails_in_one_line(bundle: Path, entry: bytes) -> None:
    with zipfile.ZipFile(bundle / "golden.npz") as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(bundle / "golden.npz", "w", zipfile.ZIP_LZMA) as archive:
        for name, content in entries.items():
            archive.writestr(name, entry if name == "sample0000.input0.npy" else content)
    reseal(bundle)
    found = [check for check in verify_bundle(bundle).checks if check.status == "failed"]
    assert len(found) == 1 and found[0].name == "golden" and "\n" not in found[0].detail


def test_a_packed_stream_that_is_damaged_fails_in_one_line(bundle: Path) -> None:
    content = bytearray((bundle / "golden.npz").read_bytes())
    start = content.index(b"sample0000.input0.npy") + len("sample0000.input0.npy")
    content[start : start + 40] = bytes(range(200, 240))
    (bundle / "golden.npz").write_bytes(content)
    reseal(bundle)
    done = run(str(bundle))
    assert done.returncode == 1 and "golden.npz: cannot be read" in done.stdout and done.stderr == ""


def test_a_model_whose_names_are_no_text_fails_in_one_line(bundle: Path) -> None:
    content = (bundle / "model.onnx").read_bytes()
    (bundle / "model.onnx").write_bytes(content.replace(b"pixels", b"pixel\xff"))
    reseal(bundle)
    done = run(str(bundle), "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["verdict"] == "failed" and done.stderr == ""


def test_a_model_that_never_ends_fails_after_the_time_limit(bundle: Path) -> None:
    model = onnx.parser.parse_model(_ENDLESS)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((4, 3), np.float32), "weight"))
    onnx.save(model, bundle / "model.onnx")
    reseal(bundle)
    done = run(str(bundle), "--time-limit", "6")
    assert done.returncode == 13, done
    assert "the check did not end within 6 s" in done.stdout and done.stderr == ""
    report = verify_bundle(bundle, time_limit_s=3)
    assert (report.verdict, report.exit_code) == ("failed", 13)
    assert "did not end within 3 s" in report.checks[0].detail


def test_a_check_within_a_limit_says_what_one_without_says(bundle: Path, tmp_path: Path) -> None:
    assert verify_bundle(bundle, time_limit_s=60) == verify_bundle(bundle)
    (bundle / "model.onnx").write_bytes(b"")
    assert verify_bundle(bundle, time_limit_s=60) == verify_bundle(bundle)
    with pytest.raises(ModelError, match=r"no bundle\.json in"):
        verify_bundle(tmp_path, time_limit_s=60)


@pytest.mark.skipif(sys.platform == "win32", reason="a signal ends it")
def test_a_model_that_crashes_onnxruntime_fails_in_one_line(bundle: Path, tmp_path: Path) -> None:
    text = device_verify_path().read_text(encoding="utf-8")
    script, place = tmp_path / "crashing.py", "    tallies = "
    assert text.count(place) == 1
    script.write_text(text.replace(place, f"    os.kill(os.getpid(), {int(signal.SIGSEGV)})\n{place}"), encoding="utf-8")
    done = run(str(bundle), script=script)
    assert done.returncode == 1 and f"crashed (signal {int(signal.SIGSEGV)})" in done.stdout


@pytest.mark.parametrize("name", [b"\xff\xfe", b"x" * 5000, b"", b"-"])
def test_what_is_no_bundle_is_one_line_with_status_2(name: bytes) -> None:
    done = run(name)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and done.stdout == ""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
@pytest.mark.parametrize("name", ["bundle.json", "SHA256SUMS", "golden.npz", "model.onnx"])
@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_a_folder_or_a_pipe_where_a_file_should_be_is_named(bundle: Path, name: str, kind: str) -> None:
    (bundle / name).unlink()
    if kind == "folder":
        (bundle / name).mkdir()
    else:
        os.mkfifo(bundle / name)
    done = run(str(bundle), "--time-limit", "60")
    assert done.returncode == (2 if name == "bundle.json" else 1)
    assert name in done.stdout + done.stderr and "Traceback" not in done.stderr


def test_a_bundle_carries_the_chain_of_its_origins_and_a_broken_one_has_status_14(make_spec, tmp_path: Path) -> None:
    bundle = tmp_path / "chained"
    write_bundle(make_spec(origins=(Origin("teacher", "t", "a" * 64),)), output=bundle)
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    assert [entry["role"] for entry in manifest["origins"]] == ["teacher", "file"]
    check = next(check for check in verify_bundle(bundle).checks if check.name == "provenance")
    assert check.detail.startswith("teacher aaaaaaaa → file ")
    manifest["origins"][0]["sha256"] = "b" * 64
    (bundle / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    code = device_verify()
    sums = code.sums_text(code.sha256(bundle / "bundle.json"), manifest["files"])
    (bundle / "SHA256SUMS").write_text(sums, encoding="utf-8")
    done = run(str(bundle))
    assert done.returncode == 14 and "link 0 (teacher 't') is not the hash of what it links" in done.stdout


@pytest.mark.parametrize("budget", ["0", "-3", "nan", "inf", "soon", ""])
def test_a_budget_that_is_none_is_refused(bundle: Path, budget: str) -> None:
    done = run(str(bundle), f"--budget={budget}")
    assert done.returncode == 2 and "--budget" in done.stderr and done.stdout == ""


def test_names_of_files_and_folders_do_not_choose_the_exit_status(make_spec, tmp_path: Path) -> None:
    place = tmp_path / "install here"
    write_bundle(make_spec(), output=place)
    (place / "truncated.txt").write_text("x", encoding="utf-8")
    done = run(str(place))
    assert (done.returncode, "truncated.txt: extra" in done.stdout) == (1, True)
    (place / "truncated.txt").unlink()
    manifest = json.loads((place / "bundle.json").read_text(encoding="utf-8"))
    raw = next(entry["input"]["file"] for entry in manifest["golden"]["raw"])
    (place / raw).write_bytes(b"no arrays")
    reseal(place)
    done = run(str(place))
    assert (done.returncode, "a raw input gives no answer" in done.stdout) == (1, True)


@pytest.mark.parametrize(("limit", "status"), [("inf", 0), ("1e300", 0), ("nan", 2), ("-1", 2)])
def test_every_time_limit_is_taken_or_refused(bundle: Path, limit: str, status: int) -> None:
    done = run("--time-limit", limit, str(bundle))
    assert (done.returncode, "Traceback" in done.stderr) == (status, False)
