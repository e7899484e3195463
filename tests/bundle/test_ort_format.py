"""Bundles with onnxruntime's own format: the same answers, the list of operators, and what needs the ONNX file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import onnx.parser
import pytest

from edgeopt.bundle import verify_bundle, write_bundle
from edgeopt.bundle.delta import apply_delta, write_delta
from edgeopt.bundle.ort_format import minimum, write_ort
from edgeopt.errors import ModelError, RecipeError
from edgeopt.graph import files


def test_the_bundle_carries_an_ort_file_that_gives_the_recorded_answers(make_spec: Any, tmp_path: Path, capfd: Any) -> None:
    write_bundle(make_spec(format="ort"), output=tmp_path / "ort")
    said = capfd.readouterr()
    assert said.out == said.err == ""
    manifest = json.loads((tmp_path / "ort" / "bundle.json").read_text(encoding="utf-8"))
    assert manifest["model"]["file"] == manifest["origins"][-1]["name"] == "model.ort"
    assert not (tmp_path / "ort" / "model.onnx").exists()
    assert (tmp_path / "ort" / "model.ort").read_bytes()[4:8] == b"ORTM"
    checks = {check.name: check for check in verify_bundle(tmp_path / "ort").checks}
    assert checks["golden"].status == checks["placement"].status == "passed"


def test_the_operators_of_a_reduced_build_are_listed_without_a_path(make_spec: Any, tmp_path: Path) -> None:
    write_bundle(make_spec(format="ort"), output=tmp_path / "ort")
    text = (tmp_path / "ort" / "required_operators.config").read_text(encoding="utf-8")
    assert text.splitlines()[1:] == [
        'ai.onnx;13;MatMul{"inputs": {"0": ["float"]}}',
        'ai.onnx;14;Relu{"inputs": {"0": ["float"]}}',
    ]
    assert str(tmp_path) not in text


def test_it_asks_for_an_onnxruntime_that_reads_its_version(model_path: Path) -> None:
    assert minimum(files.load(model_path)) == "1.20"


def test_a_model_that_onnxruntime_refuses_is_one_error(tmp_path: Path) -> None:
    text = '<ir_version: 9, opset_import: ["" : 19]> g (float[1] x) => (float[1] y) { y = Nothing (x) }'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "bad.onnx")
    with pytest.raises(ModelError, match=r"bad\.onnx: not converted to \.ort: .*Nothing"):
        write_ort(tmp_path / "bad.onnx", tmp_path)


def test_its_names_are_taken_and_a_delta_leads_to_it(make_spec: Any, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x", encoding="utf-8")
    with pytest.raises(RecipeError, match="a name that the bundle itself uses"):
        write_bundle(make_spec(files={"required_operators.config": tmp_path / "x"}), output=tmp_path / "no")
    write_bundle(make_spec(), output=tmp_path / "onnx")
    write_bundle(make_spec(format="ort"), output=tmp_path / "ort")
    write_delta(tmp_path / "onnx", tmp_path / "ort", tmp_path / "delta")
    apply_delta(tmp_path / "onnx", tmp_path / "delta", tmp_path / "made")
    assert verify_bundle(tmp_path / "made").passed
