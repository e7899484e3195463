import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeopt.bundle import verify_bundle, write_bundle
from edgeopt.bundle.verify import device_verify, device_verify_path
from edgeopt.device_code import inference
from edgeopt.errors import ModelError

NAMES = ["README.md", "SHA256SUMS", "bundle.json", "example.py", "golden.npz", "model.onnx", "recipe.toml", "verify.py"]


@pytest.fixture
def bundle(make_spec, tmp_path):
    write_bundle(make_spec(), output=tmp_path / "out")
    return tmp_path / "out"


def failures(folder):
    return [check for check in verify_bundle(folder).checks if check.status == "failed"]


def reseal(folder, manifest):
    """Write a changed manifest the way a forger would: with every hash right."""
    code = device_verify()
    for entry in manifest["files"]:
        entry["sha256"] = code.sha256(folder / entry["path"])
        entry["size_bytes"] = (folder / entry["path"]).stat().st_size
    if manifest.get("origins"):
        manifest["origins"][-1]["sha256"] = code.sha256(folder / "model.onnx")
        manifest["origins"] = inference("provenance").chained(manifest["origins"])
    (folder / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    (folder / "SHA256SUMS").write_text(code.sums_text(code.sha256(folder / "bundle.json"), manifest["files"]), encoding="utf-8")


def read(folder):
    return json.loads((folder / "bundle.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_anywhere_is_named(bundle, name):
    data = (bundle / name).read_bytes()
    for position in (0, len(data) // 3, len(data) - 1):
        flipped = bytearray(data)
        flipped[position] ^= 1
        (bundle / name).write_bytes(bytes(flipped))
        found = failures(bundle)
        assert found, f"{name}: a flipped bit at {position} of {len(data)} went unnoticed"
        assert any(name in check.detail for check in found), found
    (bundle / name).write_bytes(data)
    assert verify_bundle(bundle).passed


@pytest.mark.parametrize("name", NAMES)
def test_a_truncated_file_is_named(bundle, name):
    data = (bundle / name).read_bytes()
    for length in (0, len(data) // 2, len(data) - 1):
        (bundle / name).write_bytes(data[:length])
        assert any(name in check.detail for check in failures(bundle)), f"{name} cut to {length} bytes"


@pytest.mark.parametrize("name", [name for name in NAMES if name != "bundle.json"])
def test_a_missing_file_is_named(bundle, name):
    (bundle / name).unlink()
    assert any(check.detail == f"{name}: missing" for check in failures(bundle))


def test_an_extra_file_is_named_also_in_a_folder(bundle):
    (bundle / "more").mkdir()
    (bundle / "more" / "evil.so").write_bytes(b"\x7fELF")
    assert [check.detail for check in failures(bundle)] == ["more/evil.so: extra, not recorded in bundle.json"]


def test_links_are_refused(bundle, tmp_path):
    (tmp_path / "copy.onnx").write_bytes((bundle / "model.onnx").read_bytes())
    (bundle / "model.onnx").unlink()
    (bundle / "model.onnx").symlink_to(tmp_path / "copy.onnx")
    (bundle / "etc").symlink_to("/etc")
    assert [check.detail.split(":")[0] for check in failures(bundle)] == ["etc", "model.onnx"]
    assert all("link" in check.detail for check in failures(bundle))


def test_no_bundle_and_other_schema_versions_are_user_errors(bundle, tmp_path):
    with pytest.raises(ModelError, match=r"no bundle\.json in"):
        verify_bundle(tmp_path / "in")
    reseal(bundle, {**read(bundle), "schema_version": 3})
    with pytest.raises(ModelError, match="schema version 3, this program reads 1, 2"):
        verify_bundle(bundle)


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/passwd", "a/../../x", "a//b", "./model.onnx", "", "C:\\x", "a\\b", "bundle.json", "nul\x00", "x.", "\ud800"],
)
def test_paths_that_leave_the_bundle_are_refused(bundle, path):
    manifest = read(bundle)
    manifest["files"][0]["path"] = path
    (bundle / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    (check,) = failures(bundle)
    assert check.name == "manifest"
    assert "refused" in check.detail


def test_a_schema_that_is_not_the_model_s_is_found(bundle):
    for change in ({"dtype": "int8"}, {"shape": ["batch", 5]}, {"shape": ["n", 4]}, {"name": "other"}):
        manifest = read(bundle)
        manifest["inputs"][0].update(change)
        reseal(bundle, manifest)
        (check,) = failures(bundle)
        assert check.name == "schema"


def golden_of(folder):
    with np.load(folder / "golden.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def test_outputs_beyond_the_tolerance_are_found(bundle):
    arrays = golden_of(bundle)
    arrays["sample0003.output0"] = arrays["sample0003.output0"] + np.float32(0.01)
    np.savez(bundle / "golden.npz", **arrays)
    reseal(bundle, read(bundle))
    (check,) = failures(bundle)
    assert check.name == "golden"
    assert "sample 3 is off by 0.01" in check.detail


def test_another_best_class_is_found_within_a_generous_tolerance(bundle):
    arrays = golden_of(bundle)
    sample = next(k for k in range(5) if np.ptp(arrays[f"sample{k:04d}.output0"]) > 0.5)
    arrays[f"sample{sample:04d}.output0"] = arrays[f"sample{sample:04d}.output0"][:, ::-1].copy()
    np.savez(bundle / "golden.npz", **arrays)
    manifest = read(bundle)
    manifest["golden"]["tolerances"][0]["relative"] = 0.0
    largest = max(float(np.ptp(value)) for name, value in arrays.items() if "output" in name)
    for absolute, expected in ((0.4, 1), (2 * largest, 0)):
        manifest["golden"]["tolerances"][0]["absolute"] = absolute
        reseal(bundle, manifest)
        assert len(failures(bundle)) == expected
    detail = next(check.detail for check in verify_bundle(bundle).checks if check.name == "golden")
    assert "closer than the tolerance, not judged" in detail


def test_a_pickle_in_the_golden_samples_is_not_read(bundle):
    arrays = golden_of(bundle)
    arrays["sample0000.input0"] = np.array([{"a": 1}], dtype=object)
    np.savez(bundle / "golden.npz", **arrays)
    reseal(bundle, read(bundle))
    (check,) = failures(bundle)
    assert "golden.npz: cannot be read" in check.detail


def test_a_provider_that_is_not_there_leaves_the_verdict_open(bundle):
    report = verify_bundle(bundle, provider="NoSuchExecutionProvider")
    assert (report.verdict, report.exit_code) == ("incomplete", 2)
    assert not report.passed


def test_without_onnxruntime_files_are_checked_and_the_rest_is_said_to_be_open(bundle, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    report = verify_bundle(bundle)
    assert report.exit_code == 2
    assert [(check.name, check.status) for check in report.checks] == [
        ("files", "passed"),
        ("signature", "passed"),
        ("provenance", "passed"),
        ("schema", "unchecked"),
        ("golden", "unchecked"),
    ]


def test_another_machine_class_is_said(bundle):
    manifest = read(bundle)
    manifest["golden"]["machine"] = "riscv64"
    reseal(bundle, manifest)
    report = verify_bundle(bundle)
    assert report.passed
    assert any("written on riscv64" in check.detail for check in report.checks)


def test_the_verifier_is_python_3_9_and_imports_only_numpy_and_onnxruntime():
    import ast
    import sys

    tree = ast.parse(device_verify_path().read_text(encoding="utf-8"), feature_version=(3, 9))
    imported = {
        (alias.name if isinstance(node, ast.Import) else node.module).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert imported - set(sys.stdlib_module_names) == {"numpy", "onnxruntime"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
SHARED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SHARED
@given(data=st.binary(max_size=400) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_for_bundle_json_give_a_verdict(bundle, data):
    (bundle / "bundle.json").write_bytes(data)
    assert failures(bundle)


def _places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _places(inner, (*path, key))


@SHARED
@given(data=st.data(), junk=JSON)
def test_any_value_anywhere_in_a_resealed_bundle_json_gives_a_verdict(bundle, data, junk):
    original = (bundle / "bundle.json").read_text(encoding="utf-8")
    sums = (bundle / "SHA256SUMS").read_text(encoding="utf-8")
    manifest = json.loads(original)
    place = data.draw(st.sampled_from(sorted((path for path in _places(manifest) if path), key=str)))
    holder = manifest
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = junk
    text = json.dumps(manifest)
    (bundle / "bundle.json").write_text(text, encoding="utf-8")
    try:
        report = verify_bundle(bundle)
        assert report.verdict in {"passed", "failed"}
        assert report.verdict == "failed" or json.loads(text) == json.loads(original)
    except ModelError as error:
        assert "schema version" in str(error)
    finally:
        (bundle / "bundle.json").write_text(original, encoding="utf-8")
        (bundle / "SHA256SUMS").write_text(sums, encoding="utf-8")


def test_deep_nesting_is_refused(bundle):
    (bundle / "bundle.json").write_text("[" * 200_000, encoding="utf-8")
    assert "not valid JSON" in failures(bundle)[0].detail
