"""Values of a forged bundle.json (its hashes fit) become no code and no packages of a project, and are refused in one line."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.sweep.bundles import bundle_files
from edgeopt.bundle.deploy import Platform, deploy_bundle
from edgeopt.bundle.manifest import read_manifest
from edgeopt.bundle.verify import device_verify, verify_bundle
from edgeopt.device_code import inference
from edgeopt.errors import ModelError
from tests.bundle.test_deploy import TAGS, save, tokenizer, write

MODEL = (
    '<ir_version: 8, opset_import: ["" : 17]> g (float[n, 4] x) => (float[n, 4] y) <float[4] w = {1, 2, 3, 4}> {y = Add (x, w)}'
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    import onnx

    folder = tmp_path_factory.mktemp("whole")
    bundle_files(folder, onnx.parser.parse_model(MODEL).SerializeToString())
    return folder / "bundle-seed"


def forged(source: Path, folder: Path, *keys, **value) -> Path:
    """Return a copy of a bundle whose bundle.json has another value at `keys` (none: without it), with hashes that fit."""
    shutil.copytree(source, folder)
    place = folder / "bundle.json"
    values = json.loads(place.read_text(encoding="utf-8"))
    at = values
    for key in keys[:-1]:
        at = at[key]
    if "to" in value:
        at[keys[-1]] = value["to"]
    else:
        del at[keys[-1]]
    values["origins"] = inference("provenance").chained(values["origins"])
    place.write_text(json.dumps(values), encoding="utf-8")
    code = device_verify()
    (folder / "SHA256SUMS").write_text(code.sums_text(code.sha256(str(place)), values["files"]), encoding="utf-8")
    return folder


@pytest.mark.parametrize("version", ["1.20\nevil-package", "1.20 ; evil", "1.20, @ https://somewhere/x.whl", "", 1.2, ["1.20"]])
def test_a_version_in_a_bundle_lists_no_package(whole, version, tmp_path):
    bundle = forged(whole, tmp_path / "b", "model", "minimum_onnxruntime", to=version)
    with pytest.raises(ModelError, match=r"'model\.minimum_onnxruntime'"):
        deploy_bundle(bundle, Platform.PYTHON, output=tmp_path / "app")
    assert not (tmp_path / "app").exists()


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        *((("name",), {}), (("name",), {"to": ["a"]}), (("task",), {"to": None}), (("task",), {}), (("model",), {"to": "m"})),
        *((("decoding",), {}), (("decoding",), {"to": []}), (("decoding", "kind"), {"to": "evil"})),
        *((("preprocessing",), {}), (("preprocessing", "kind"), {"to": 5}), (("preprocessing", "rate"), {"to": "1; evil()"})),
        *(
            (("golden", "raw"), {"to": "x"}),
            (("golden", "raw"), {"to": [{"input": {"text": 5}}]}),
            (("golden", "raw"), {"to": 5}),
        ),
        (("golden", "raw"), {"to": [{"input": {"file": "../../secret"}}]}),
    ],
)
def test_a_value_of_another_kind_is_one_line(whole, keys, value, tmp_path):
    with pytest.raises(ModelError) as error:
        read_manifest(forged(whole, tmp_path / "b", *keys, **value))
    assert "bundle.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_whole_bundle_is_read(whole):
    found = read_manifest(whole)
    assert (found.name, found.task, found.preprocessing.kind, found.first_raw) == (
        "b",
        "t",
        "array",
        ("BUNDLE/golden/000.npz",),
    )


def test_a_tolerance_beyond_every_float_is_damage(whole, tmp_path):
    bundle = forged(whole, tmp_path / "b", "golden", "tolerances", 0, "relative", to=10**400)
    report = verify_bundle(bundle)
    assert report.verdict == "failed"
    assert "a finite number" in report.checks[0].detail


@pytest.mark.parametrize("text", ["so good :)", "a) $(touch owned) `touch owned` # 'x' \"y\" \\", "(,$(", "a\r\n\tb, c"])
def test_a_makefile_runs_the_example_text_as_it_is(text, tmp_path):
    from edgeopt.bundle import TokenizerInput
    from edgeopt.bundle.raw_golden import RawSample

    logits = np.random.default_rng(0).normal(size=(13, 3)).astype(np.float32)
    made = write(
        tmp_path / "b", save(tmp_path / "m.onnx", TAGS, table=logits), TokenizerInput(max_length=12), [RawSample(text=text)],
        task="token-classification", labels=("O", "B-PER", "I-PER"), files={"tokenizer.json": tokenizer(tmp_path / "t.json")},
    )  # fmt: skip
    deploy_bundle(made, Platform.NODE, output=tmp_path / "app")
    (tmp_path / "node").write_text("#!/bin/sh\nshift\nprintf '%s' \"$1\" > said\n", encoding="utf-8")
    (tmp_path / "node").chmod(0o755)
    command = ["make", "-C", str(tmp_path / "app"), "run"]
    done = subprocess.run(command, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = (tmp_path / "app" / "said").read_text(encoding="utf-8")
    assert said == "".join(char if char.isprintable() else " " for char in text)
    assert not list(tmp_path.rglob("owned"))


def test_a_tokenizer_whose_model_states_no_type_is_left_to_the_package(tmp_path):
    """The first tokenizer.json of GPT-2 and RoBERTa are like this, and the package reads them."""
    from edgeopt.bundle import TokenizerInput
    from edgeopt.bundle.deploy import _tokenizer

    values = {"added_tokens": [], "model": {"vocab": {"a": 0}, "merges": []}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(values), encoding="utf-8")
    assert _tokenizer(TokenizerInput(max_length=8), tmp_path) == values


def test_a_tokenizer_without_its_parts_is_one_line(tmp_path):
    from edgeopt.bundle import TokenizerInput
    from edgeopt.bundle.deploy import _tokenizer

    for text in ("[]", "{}", '{"normalizer": 5, "added_tokens": []}', '{"added_tokens": [5]}'):
        (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
        with pytest.raises(ModelError, match="not a whole tokenizer"):
            _tokenizer(TokenizerInput(max_length=8), tmp_path)
