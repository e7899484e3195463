import dataclasses
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.helper
import onnx.parser
import pytest

from edgeopt import files
from edgeopt.bundle import ImageInput, TokenizerInput, Tolerance, verify_bundle, write_bundle
from edgeopt.device_code import inference_folder
from edgeopt.errors import DataError, MachineError, ModelError, RecipeError
from tests.bundle.conftest import classifier


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def manifest_of(folder):
    return json.loads((folder / "bundle.json").read_text(encoding="utf-8"))


def test_a_written_bundle_verifies_and_holds_what_it_says(make_spec, tmp_path):
    result = write_bundle(make_spec(), output=tmp_path / "out")
    found = contents(tmp_path / "out")
    code = [path.name for path in inference_folder().glob("*.py")]
    assert sorted(found) == sorted(
        ["README.md", "SHA256SUMS", "bundle.json", "example.py", "golden.npz", "model.onnx", "recipe.toml", "verify.py"]
        + ["golden/000.npz", "golden/001.npz", "sbom.cdx.json"]
        + [f"inference/{name}" for name in code]
    )
    for file in result.files:
        assert hashlib.sha256(found[file.path]).hexdigest() == file.sha256
        assert len(found[file.path]) == file.size_bytes
    assert result.size_bytes == sum(map(len, found.values()))
    assert result.sha256 == hashlib.sha256(found["SHA256SUMS"]).hexdigest()
    assert result.verified
    assert verify_bundle(tmp_path / "out").passed


def test_two_writes_give_the_same_bytes(make_spec, tmp_path):
    first = write_bundle(make_spec(), output=tmp_path / "a" / "out")
    second = write_bundle(make_spec(), output=tmp_path / "b" / "out")
    assert contents(tmp_path / "a" / "out") == contents(tmp_path / "b" / "out")
    assert first == second


def test_the_manifest_describes_the_model(make_spec, tmp_path):
    write_bundle(make_spec(versions={"torch": "2.13"}), output=tmp_path / "out")
    manifest = manifest_of(tmp_path / "out")
    assert manifest["inputs"] == [{"name": "pixels", "dtype": "float32", "shape": ["batch", 4]}]
    assert manifest["outputs"] == [{"name": "logits", "dtype": "float32", "shape": ["batch", 3]}]
    assert manifest["dynamic_axes"] == ["batch"]
    assert manifest["labels"] == ["cat", "dog", "owl"]
    assert manifest["model"]["minimum_onnxruntime"] == "1.15"
    assert manifest["preprocessing"] == {"kind": "array"}
    assert manifest["versions"]["torch"] == "2.13"
    assert manifest["golden"]["samples"] == 5
    assert manifest["golden"]["tolerances"][0]["top1"] is True
    assert str(tmp_path) not in json.dumps(manifest)


def test_the_facts_are_json(make_spec, tmp_path):
    result = write_bundle(make_spec(), output=tmp_path / "out")
    facts = json.loads(json.dumps(dataclasses.asdict(result), allow_nan=False))
    assert facts["path"] == "out"
    assert facts["verified"] is True
    assert {"path", "sha256", "size_bytes"} == set(facts["files"][0])


def test_external_data_travels_along(make_spec, tmp_path):
    source = make_spec().model
    model = onnx.load(source)
    outside = tmp_path / "big" / "big.onnx"
    outside.parent.mkdir()
    onnx.save_model(model, outside, save_as_external_data=True, location="big.onnx.data", size_threshold=0)
    write_bundle(make_spec(model=outside), output=tmp_path / "out")
    assert (tmp_path / "out" / "big.onnx.data").read_bytes() == (outside.parent / "big.onnx.data").read_bytes()
    assert manifest_of(tmp_path / "out")["model"]["external_data"] == ["big.onnx.data"]
    shutil.rmtree(outside.parent)
    assert verify_bundle(tmp_path / "out").passed


def test_ragged_golden_samples_keep_their_shapes(make_spec, ragged_path, tmp_path):
    samples = [{"ids": np.arange(length, dtype=np.int64)[None]} for length in (1, 7, 3)]
    write_bundle(make_spec(model=ragged_path, golden=samples, labels=()), output=tmp_path / "out")
    with np.load(tmp_path / "out" / "golden.npz", allow_pickle=False) as arrays:
        assert [arrays[f"sample{k:04d}.input0"].shape for k in range(3)] == [(1, 1), (1, 7), (1, 3)]
        np.testing.assert_array_equal(arrays["sample0002.output0"], [[0.0, 2.0, 4.0]])
    assert verify_bundle(tmp_path / "out").passed


def test_a_replaced_bundle_leaves_nothing_behind(make_spec, tmp_path):
    extra = tmp_path / "LICENCE"
    extra.write_text("MIT\n")
    write_bundle(make_spec(files={"LICENCE": extra}), output=tmp_path / "here" / "out")
    write_bundle(make_spec(), output=tmp_path / "here" / "out")
    assert "LICENCE" not in contents(tmp_path / "here" / "out")
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["out"]


def test_a_folder_that_is_no_bundle_is_never_replaced(make_spec, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("dear")
    with pytest.raises(RecipeError, match=r"out: holds files but no bundle\.json"):
        write_bundle(make_spec(), output=tmp_path / "out")
    assert contents(tmp_path / "out") == {"thesis.tex": b"dear"}


def test_a_full_disk_leaves_the_earlier_bundle(make_spec, tmp_path, monkeypatch):
    write_bundle(make_spec(), output=tmp_path / "here" / "out")
    before = contents(tmp_path / "here" / "out")

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(files, "flush", full)
    with pytest.raises(MachineError, match="the disk is full"):
        write_bundle(make_spec(name="other"), output=tmp_path / "here" / "out")
    assert contents(tmp_path / "here" / "out") == before
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["out"]


def test_a_failing_last_rename_brings_the_earlier_bundle_back(make_spec, tmp_path, monkeypatch):
    write_bundle(make_spec(), output=tmp_path / "here" / "out")
    before = contents(tmp_path / "here" / "out")
    rename = os.replace

    def refuse_the_new(source, target):
        if Path(source).parent.suffix == ".part" and Path(target).name == "out" and Path(source).name == "out":
            raise OSError(errno.EBUSY, "busy")
        rename(source, target)

    monkeypatch.setattr(os, "replace", refuse_the_new)
    with pytest.raises(MachineError, match="could not be moved here"):
        write_bundle(make_spec(name="other"), output=tmp_path / "here" / "out")
    assert contents(tmp_path / "here" / "out") == before


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"golden": []}, DataError, "no golden sample"),
        ({"golden": [{"pixel": np.zeros((1, 4), np.float32)}]}, DataError, r"sample 0 has inputs \['pixel'\]"),
        (
            {"golden": [{"pixels": np.zeros((1, 5), np.float32)}]},
            DataError,
            r"float32\[1, 5\]; float32\['batch', 4\] is allowed",
        ),
        ({"golden": [{"pixels": np.zeros((1, 4), np.float64)}]}, DataError, "is float64"),
        ({"golden": [{"pixels": np.full((1, 4), np.nan, np.float32)}]}, DataError, "sample 0: input 'pixels' holds NaN"),
        ({"tolerances": {"logit": Tolerance(1.0)}}, RecipeError, r"did you mean 'logits'"),
        ({"files": {"../evil": Path(__file__)}}, RecipeError, "leaves the bundle"),
        ({"files": {"verify.py": Path(__file__)}}, RecipeError, "the bundle itself uses"),
        ({"files": {"a.txt": Path("no/such")}}, DataError, "no such file"),
        ({"preprocessing": TokenizerInput(max_length=8)}, RecipeError, "needs 'tokenizer.json'"),
        ({"preprocessing": ImageInput(input="pixel", width=2, height=2)}, RecipeError, "feeds 'pixel'"),
        ({"model": Path("no/such.onnx")}, ModelError, "no such model file"),
    ],
)
def test_what_contradicts_the_model_is_refused_in_one_line(make_spec, tmp_path, changes, error, message):
    with pytest.raises(error, match=message) as caught:
        write_bundle(make_spec(**changes), output=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_custom_operator_is_named(make_spec, tmp_path):
    path = tmp_path / "custom.onnx"
    text = '<ir_version: 9, opset_import: ["" : 19, "acme" : 1]> g (float[1] x) => (float[1] y) { y = acme.Shrink(x) }'
    onnx.save(onnx.parser.parse_model(text), path)
    with pytest.raises(ModelError, match="Shrink"):
        write_bundle(make_spec(model=path, golden=[{"x": np.zeros(1, np.float32)}], labels=()), output=tmp_path / "out")


def test_a_model_that_gives_a_sequence_is_refused(make_spec, tmp_path):
    path = tmp_path / "sequence.onnx"
    text = '<ir_version: 9, opset_import: ["" : 19]> g (float[2] x) => (seq(float[]) y) { y = SplitToSequence(x) }'
    onnx.save(onnx.parser.parse_model(text), path)
    with pytest.raises(ModelError, match="'y' is a sequence or a map"):
        write_bundle(make_spec(model=path, golden=[{"x": np.zeros(2, np.float32)}], labels=()), output=tmp_path / "out")


def test_texts_may_go_in_and_out(make_spec, tmp_path):
    path = tmp_path / "text.onnx"
    text = '<ir_version: 9, opset_import: ["" : 19]> g (string[batch] x) => (string[batch] y) { y = Identity(x) }'
    onnx.save(onnx.parser.parse_model(text), path)
    samples = [{"x": np.array(["größer", ""], dtype=object)}]
    write_bundle(make_spec(model=path, golden=samples, labels=()), output=tmp_path / "out")
    with np.load(tmp_path / "out" / "golden.npz", allow_pickle=False) as arrays:
        assert arrays["sample0000.output0"].tolist() == ["größer", ""]


def test_a_quantized_model_gets_the_wider_floor_and_integers_must_be_equal(make_spec, tmp_path):
    text = """
    <ir_version: 9, opset_import: ["" : 19]> g (float[batch, 4] x) => (float[batch, 4] y, int64[batch, 1] best)
    <float scale = {0.1}, uint8 zero = {128}> {
        q = QuantizeLinear(x, scale, zero)
        y = DequantizeLinear(q, scale, zero)
        best = ArgMax <axis = 1, keepdims = 1> (y)
    }"""
    path = tmp_path / "q.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    samples = [{"x": np.array([[0.0, 1.0, 2.0, 10.0]], np.float32)}]
    write_bundle(make_spec(model=path, golden=samples, labels=()), output=tmp_path / "out")
    manifest = manifest_of(tmp_path / "out")
    real, best = manifest["golden"]["tolerances"]
    assert manifest["model"]["arithmetic"] == "integer"
    assert real["absolute"] == pytest.approx(0.02 * 10.0)
    assert (best["absolute"], best["relative"], best["top1"]) == (0.0, 0.0, False)


def run(script, *arguments):
    command = [sys.executable, str(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=script.parent)


def test_the_shipped_verifier_answers_alone(make_spec, tmp_path):
    write_bundle(make_spec(), output=tmp_path / "out")
    good = run(tmp_path / "out" / "verify.py", "--json")
    assert (good.returncode, good.stderr) == (0, "")
    assert json.loads(good.stdout)["verdict"] == "passed"
    (tmp_path / "out" / "model.onnx").write_bytes(b"")
    bad = run(tmp_path / "out" / "verify.py")
    assert bad.returncode == 4
    assert "model.onnx: 0 bytes" in bad.stdout
    assert run(tmp_path / "out" / "verify.py", tmp_path).returncode == 2


def test_a_bundle_is_not_written_into_another_and_keeps_its_names(make_spec, tmp_path):
    write_bundle(make_spec(), output=tmp_path / "out")
    with pytest.raises(RecipeError, match="lies in the bundle out, which holds its recorded files alone"):
        write_bundle(make_spec(), output=tmp_path / "out" / "inner")
    onnx.save(classifier(), tmp_path / "m.onnx", save_as_external_data=True, location="golden.npz", size_threshold=0)
    with pytest.raises(ModelError, match=r"its data file is called 'golden\.npz', as a file of the bundle"):
        write_bundle(make_spec(model=tmp_path / "m.onnx"), output=tmp_path / "other")
