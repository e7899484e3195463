"""Thirty ways to hold it wrong: each gets one helpful line on stderr, exit code 2 and nothing on stdout."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser

from edgeopt.cli import main

MODEL = """
<ir_version: 10, opset_import: ["" : 20]>
small (float[batch, 4] x) => (float[batch, 3] y)
<float[4, 3] w = {0.1, -0.2, 0.3, 0.4, 0.5, -0.6, 0.7, 0.8, 0.9, -1.0, 1.1, 1.2}>
{ y = MatMul(x, w) }
"""

WRONG = [
    ("profile nothere.onnx", "no such model file"),
    ("profile empty.onnx", "not an ONNX model"),
    ("profile garbage.onnx", "not an ONNX file"),
    ("profile folder", "it holds no ONNX file and no model.onnx"),
    ("profile model.onnx --target nosuch", "known: host"),
    ("profile model.onnx --data shape.npz", "has shape [3], the model takes [batch, 4], or [4] for one sample"),
    ("profile model.onnx --data name.npz", "takes ['x']"),
    ("profile model.onnx --data complex64.npz", "dtype complex64, expected float32"),
    ("profile model.onnx --data pickled.npz", "pickled objects, which are never loaded"),
    ("profile model.onnx --data nosuchset", "sets known"),
    ("profile model.onnx --budget p95<20", "did you mean 'p95_ms'"),
    ("profile model.onnx --budget 'fp32: p95_ms<20'", "there are: model"),
    ("profile model.onnx --budget 'on nowhere: p95_ms<20'", "no target 'nowhere'"),
    ("profile model.onnx --seconds -1", "greater than 0"),
    ("profile model.onnx --set second=1", "did you mean 'seconds'"),
    ("profile model.onnx --set novalue", "KEY=VALUE"),
    ("profile model.onnx --format xml", "choose table, json, markdown, junit, github"),
    ("profile model.onnx --seconds 0.2 -q --report model.onnx/page", "choose another place"),
    ("sweep model.onnx --threads 1,x", "whole numbers above 0"),
    ("sweep model.onnx --batch 0", "whole numbers above 0"),
    ("sweep model.onnx --axis sequence=4", "no dynamic axis 'sequence'"),
    ("sweep model.onnx --axis sequence", "NAME=SIZE,SIZE"),
    ("scenarios model.onnx --scenario serve", "'single-stream', 'multi-stream', 'offline' or 'server'"),
    ("scenarios model.onnx --scenario server", "server needs a bound"),
    ("compare object.json object.json", "not a profile"),
    ("compare garbage.onnx object.json", "cannot be read as JSON"),
    ("quantize model.onnx --calibration good.npz", "--output is missing"),
    ("quantize model.onnx --calibration good.npz -o folder -q", "is a folder"),
    ("quantize model.onnx --calibration good.npz -o /proc/nowhere/int8.onnx -q", "choose another place"),
    ("quantize model.onnx --calibration folder -o int8.onnx", "no samples"),
    ("bundle model.onnx --data name.npz -o bundle", "the model takes ['x']"),
    ("bundle model.onnx --data good.npz -o model.onnx", "exists and is not a folder"),
    ("verify folder", "no bundle.json"),
    ("report folder", "no finished run here"),
    ("run nosuch", "does not exist"),
    ("run broken.toml", "not valid TOML"),
    ("run thin.toml", "key 'data' is missing"),
    ("run quickstart --set nosuch.key=1", "unknown key 'nosuch'"),
    ("run quickstart --out model.onnx", "model.onnx: cannot be created"),
    ("export nosuchmodule:thing -o out", "No module named 'nosuchmodule'"),
    ("export folder -o out", "no model here"),
    ("distill folder --data digits -o out", "give either source"),
    ("targets install nosuch", "known: host"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wrong")
    onnx.save(parser.parse_model(MODEL), folder / "model.onnx")
    (folder / "empty.onnx").touch()
    (folder / "garbage.onnx").write_bytes(np.random.default_rng(0).bytes(500))
    (folder / "folder").mkdir()
    ones = np.ones((4, 4), np.float32)
    np.savez(folder / "good.npz", x=ones)
    np.savez(folder / "shape.npz", x=ones[:, :3])
    np.savez(folder / "name.npz", foo=ones)
    np.savez(folder / "complex64.npz", x=ones.astype(np.complex64))
    np.savez(folder / "pickled.npz", x=np.array([{}], dtype=object))
    (folder / "object.json").write_text(json.dumps({}), encoding="utf-8")
    (folder / "broken.toml").write_text("x = [", encoding="utf-8")
    (folder / "thin.toml").write_text('name = "x"', encoding="utf-8")
    return folder


@pytest.mark.parametrize(("line", "says"), WRONG, ids=[line for line, _ in WRONG])
def test_each_wrong_use_gets_one_line(
    line: str, says: str, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["edgeopt", *shlex.split(line)])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capfd.readouterr()
    assert ended.value.code == 2, err
    said = [text for text in err.splitlines() if not text.startswith(("warning: ", "report  "))]
    assert len(said) == 1, err
    assert said[0].startswith("edgeopt: ")
    assert says in said[0]
    assert out == ""


@pytest.mark.parametrize("line", ["", "frobnicate", "profile", "profile model.onnx --seconds abc", "quantize --nosuch"])
def test_the_parser_says_usage(line: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["edgeopt", *shlex.split(line)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    out, err = capfd.readouterr()
    assert "Usage: edgeopt" in err + out
