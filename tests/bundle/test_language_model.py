"""Bundles of the kind llm: golden tokens, near-ties, chat.py on its own, damage that is found."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeopt.bundle.language_model import LanguageModelSpec, write_language_model
from edgeopt.bundle.verify import verify_bundle
from edgeopt.device_code import inference
from edgeopt.errors import RecipeError
from edgeopt.generate.engine.engine import Engine
from edgeopt.generate.engine.sampling import Sampling
from edgeopt.targets.target import load_target
from tests.cli.conftest import edgeopt_here, exported


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("hub"), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def bundle(language_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("out") / "bundle"
    done = edgeopt_here("bundle", str(language_model), "-o", str(output), "--licence", "Apache-2.0", "--name", "tiny")
    assert done.returncode == 0, done.stderr
    return output


def verdict(folder: Path) -> tuple[str, str]:
    report = verify_bundle(folder)
    failed = [check.detail for check in report.checks if check.status == "failed"]
    return report.verdict, " ".join(failed)


def test_it_holds_what_it_needs_and_verifies(bundle: Path) -> None:
    assert verdict(bundle) == ("passed", "")
    manifest = json.loads((bundle / "bundle.json").read_text())
    assert manifest["kind"] == "llm"
    assert manifest["licences"] == {"model": "Apache-2.0"}
    assert manifest["generation"]["decode_tokens_per_s"] > 0
    assert manifest["generation"]["peak_rss_bytes"] > 1 << 20
    for name in (
        "generation.json",
        "genai_config.json",
        "tokenizer.json",
        "chat_template.jinja",
        "chat.py",
        "engine/engine.py",
    ):
        assert (bundle / name).is_file(), name
    assert "tokens/s" in (bundle / "README.md").read_text()
    golden = json.loads((bundle / "golden.json").read_text())
    assert all(len(sample["tokens"]) == len(sample["margins"]) for sample in golden["samples"])


def test_chat_ends_without_a_traceback_when_its_reader_has_gone(bundle: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-P", str(bundle / "chat.py"), "Hello", "--max-tokens", "4"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_its_own_programs_run_without_edgeopt(bundle: Path) -> None:
    blocked = "import sys; sys.modules['edgeopt'] = None; sys.modules['pydantic'] = None; sys.modules['torch'] = None; "
    run = blocked + "import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def start(*arguments: str, text: str = "") -> str:
        command = [sys.executable, "-P", "-c", run, str(bundle / arguments[0]), *arguments[1:]]
        done = subprocess.run(command, input=text, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    made = json.loads(start("chat.py", "Hello", "--json", "--max-tokens", "12"))
    engine = Engine.open(bundle)
    asked = engine.prompt([{"role": "user", "content": "Hello"}])
    assert made["tokens"] == list(engine.generate(asked, Sampling(max_tokens=12)).tokens)
    assert start("chat.py", "--max-tokens", "4", text="Hello\n/reset\nAgain\n")
    assert "passed" in start("verify.py", str(bundle))
    assert verdict(bundle) == ("passed", ""), "running it left files behind"


def test_edgeopt_generates_from_the_bundle(bundle: Path) -> None:
    done = edgeopt_here("generate", str(bundle), "Hello", "--max-tokens", "4", "--format", "json")
    assert json.loads(done.stdout)["text"] is not None


def test_another_token_is_found_unless_it_is_a_near_tie(bundle: Path, tmp_path: Path) -> None:
    golden = json.loads((bundle / "golden.json").read_text())
    generation = json.loads((bundle / "generation.json").read_text())
    session = Engine.open(bundle).session
    check = inference("golden_tokens").check_golden_tokens
    right, said = check(session, golden, generation)
    assert right
    assert "tokens in 4 samples as recorded" in said
    sample = golden["samples"][1]
    sample["tokens"][-1] = (sample["tokens"][-1] + 1) % 400
    sample["margins"][-1] = 1e6
    right, said = check(session, golden, generation)
    assert not right
    assert said.startswith(f"sample 1, token {len(sample['tokens']) - 1}: ")
    sample["margins"][-1] = golden["tolerance"] / 2
    right, said = check(session, golden, generation)
    assert right
    assert said.endswith("(1 closer than the tolerance, not judged)")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not valid JSON"),
        ("[]", "has no tolerance"),
        ('{"tolerance": 1, "samples": []}', "has no samples"),
        ('{"tolerance": 1, "samples": [{"prompt": [1], "tokens": [1, 2], "margins": [1]}]}', "sample 0 must have"),
    ],
)
def test_damaged_golden_tokens_are_refused(tmp_path: Path, content: str, said: str) -> None:
    code = inference("golden_tokens")
    (tmp_path / "golden.json").write_text(content)
    with pytest.raises(code.GoldenTokensError, match=said):
        code.read_golden_tokens(str(tmp_path / "golden.json"))
    (tmp_path / "generation.json").write_text("{}")
    (status, detail), *_ = code.check(str(tmp_path), {"golden": {"file": "golden.json"}}, None)
    assert status == "failed"
    assert said in detail


def test_a_changed_weight_changes_tokens(bundle: Path, tmp_path: Path) -> None:
    model = onnx.load(bundle / "model.onnx")
    largest = max(model.graph.initializer, key=lambda one: int(np.prod(one.dims)))
    array = numpy_helper.to_array(largest)
    largest.CopyFrom(numpy_helper.from_array(np.roll(array, 1, axis=0).astype(array.dtype), largest.name))
    changed = tmp_path / "changed"
    shutil.copytree(bundle, changed)
    onnx.save(model, changed / "model.onnx")
    assert verdict(changed)[0] == "failed"  # by its hash
    golden = json.loads((bundle / "golden.json").read_text())
    generation = json.loads((bundle / "generation.json").read_text())
    right, _ = inference("golden_tokens").check_golden_tokens(Engine.open(changed).session, golden, generation)
    assert not right  # and by what it says


def test_other_folders_are_not_replaced(language_model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(RecipeError, match="is not a bundle"):
        write_language_model(LanguageModelSpec(language_model, "x", "host"), output=tmp_path)


def test_options_for_other_models_are_refused_by_name(language_model: Path, tmp_path: Path) -> None:
    for option in (
        ("--format", "ort"),
        ("--latency",),
        ("--labels", "names.txt"),
        ("--golden", "3"),
        ("--task", "text-generation"),
    ):
        done = edgeopt_here("bundle", str(language_model), "-o", str(tmp_path / "b"), *option)
        assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1)
        assert f"{option[0]}: not for a language model" in done.stderr
    done = edgeopt_here("bundle", str(language_model), "-o", str(tmp_path / "b"), "--data", "digits")
    assert (done.returncode, "--data: not for" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "b").exists()


def test_a_classifier_without_data_is_told_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    done = edgeopt_here("bundle", str(tmp_path / "model.onnx"), "-o", str(tmp_path / "b"))
    assert done.returncode == 2
    assert "--data is missing" in done.stderr


def test_the_golden_tokens_hold_on_emulated_arm64(bundle: Path) -> None:
    device = load_target("arm64-emulated").device
    command = [str(Path(part).expanduser()) for part in (*device.launcher, device.python or "")]
    if not Path(command[0]).is_file():
        pytest.skip("the emulator is not there: edgeopt targets install arm64-emulated")
    done = subprocess.run(
        [*command, str(bundle / "verify.py"), "--here", str(bundle)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tokens in 4 samples as recorded" in done.stdout
