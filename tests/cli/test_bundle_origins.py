"""What `edgeopt bundle` records of a model's origins: hashes of data, plan and model, licences given or stated."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from edgeopt.cli.bundle_origins import licences_of, origins_of
from edgeopt.data.samples import from_arrays
from edgeopt.data.source import described

MIT = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "int8.onnx").write_bytes(b"model")
    np.savez(tmp_path / "data.npz", x=np.zeros((2, 3), np.float32))
    return tmp_path


def test_data_plan_and_model_are_linked_by_their_hashes(place: Path) -> None:
    model, data = place / "model" / "int8.onnx", str(place / "data.npz")
    manifest = described(data, from_arrays({"x": np.zeros((2, 3), np.float32)}))
    first, last = origins_of(model, f"{data}?input=x", manifest)
    assert (first.role, first.sha256) == ("data", hashlib.sha256((place / "data.npz").read_bytes()).hexdigest())
    assert (last.role, last.name, last.sha256) == ("model", "int8.onnx", hashlib.sha256(b"model").hexdigest())
    (place / "model" / "int8.plan.json").write_text("{}", encoding="utf-8")
    assert [origin.role for origin in origins_of(model, data, manifest)] == ["data", "plan", "model"]
    assert origins_of(model, "digits", manifest)[0].sha256 == ""


def test_licences_are_those_given_else_those_of_the_folders(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data = place / "model" / "int8.onnx", str(place / "data.npz")
    manifest = described(data, from_arrays({"x": np.zeros((2, 3), np.float32)}))
    assert licences_of(model, data, manifest, model_licence="", data_licence="").names == {
        "model": "not stated",
        "data": "not stated",
    }
    (place / "model" / "LICENSE").write_text(MIT, encoding="utf-8")
    (place / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n", encoding="utf-8")
    found = licences_of(model, data, manifest, model_licence="", data_licence="")
    assert found.names == {"model": "MIT", "data": "CC-BY-4.0"}
    assert found.files == {"LICENSE": model.with_name("LICENSE")}
    said = capsys.readouterr()
    assert said.out == "" and "licence of the model: MIT, as LICENSE" in said.err
    given = licences_of(model, data, manifest, model_licence="Apache-2.0", data_licence="ODbL")
    assert given.names == {"model": "Apache-2.0", "data": "ODbL"}
