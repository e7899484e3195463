"""The shipped recipes, run as a user runs them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from edgeopt.data.digits import load_digits
from edgeopt.pipeline import Pipeline
from edgeopt.recipe import load_recipe
from edgeopt.tasks.registry import find_task

ROOT = Path(__file__).resolve().parent.parent


def edgeopt(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "edgeopt", *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def facts(folder: Path) -> dict[str, Any]:
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return {stage["stage"]: stage["facts"] for stage in record["stages"]}


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quickstart")
    result = edgeopt("run", "quickstart", "-q", cwd=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "report.html" in result.stdout
    return folder / "runs" / "quickstart"


def test_the_teacher_knows_the_digits(quickstart: Path) -> None:
    accuracies = {row["name"]: row["accuracy"] for row in facts(quickstart)["verify"]["variants"]}
    assert accuracies["teacher"] >= 0.98
    assert accuracies["fp32"] >= 0.97


def test_the_student_is_small_and_the_pruned_one_smaller(quickstart: Path) -> None:
    found = facts(quickstart)
    assert found["distill"]["student"]["parameters"] <= found["teacher"]["parameters"] / 4
    assert 0.4 <= found["prune"]["after"]["macs"] / found["prune"]["before"]["macs"] <= 0.5
    assert found["prune"]["after"]["parameters"] < found["prune"]["before"]["parameters"]
    assert found["quantize"]["size_bytes_after"] < found["quantize"]["size_bytes_before"] / 2


def test_the_profile_sees_all_the_work_in_int8(quickstart: Path) -> None:
    variants = {variant["name"]: variant for variant in facts(quickstart)["profile"]["variants"]}
    macs = facts(quickstart)["prune"]["after"]["macs"]
    assert macs <= variants["int8"]["macs"] <= 1.05 * macs, "the first convolution's input is padded from 1 channel to 4"
    assert variants["int8"]["int8_macs_share"] > 0.99
    assert variants["fp32"]["int8_macs_share"] == 0
    assert 0 < variants["int8"]["floor_ms"] < variants["fp32"]["floor_ms"]


def test_int8_keeps_the_accuracy(quickstart: Path) -> None:
    accuracies = {row["name"]: row["accuracy"] for row in facts(quickstart)["verify"]["variants"]}
    assert accuracies["int8"] >= accuracies["fp32"] - 0.01


def test_the_report_opens_without_network(quickstart: Path) -> None:
    page = (quickstart / "report.html").read_text(encoding="utf-8")
    markup = re.sub(r"<script.*?</script>", "<script></script>", page, flags=re.DOTALL)
    assert markup.count("<script></script>") >= 1
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", markup)
    assert not re.findall(r"<script[^>]*\ssrc", page)
    assert json.loads((quickstart / "report.json").read_text(encoding="utf-8"))["schema_version"] >= 1
    assert (quickstart / "report.md").read_text(encoding="utf-8").startswith("#")


def test_the_bundle_verifies_itself_with_numpy_and_onnxruntime_alone(quickstart: Path) -> None:
    bundle = quickstart / "bundle"
    blocker = (
        "import sys, runpy\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'edgeopt', 'torch', 'onnx', 'transformers', 'pydantic', 'rich', 'PIL', 'sklearn'}:\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
        f"sys.argv = ['verify.py', '--here', {str(bundle)!r}]\n"
        f"runpy.run_path({str(bundle / 'verify.py')!r}, run_name='__main__')\n"
    )
    result = subprocess.run([sys.executable, "-c", blocker], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert edgeopt("verify", str(bundle), cwd=quickstart).returncode == 0


def test_the_bundle_tells_digits_apart(quickstart: Path) -> None:
    samples = load_digits()["evaluation"]
    session = onnxruntime.InferenceSession(quickstart / "bundle" / "model.onnx")
    logits = session.run(None, dict(samples.collate(range(len(samples)))))[0]
    assert samples.labels is not None
    assert (np.argmax(logits, axis=1) == samples.labels).mean() >= 0.97


def test_the_readmes_python_runs(quickstart: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    place = quickstart.parent.parent
    result = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "int8 takes 0." in result.stdout
    assert (place / "out" / "int8.onnx").is_file()


def test_every_stage_runs_on_its_own_from_files(quickstart: Path, tmp_path: Path) -> None:
    (teacher,) = (quickstart / "artifacts").glob("teacher-*")
    student = [
        "--student",
        "edgeopt.models.residual_cnn:ResidualCNN",
        "--set",
        "arguments.width=16",
        "--set",
        "train.epochs=6.0",
    ]
    digits = ["--data", "digits"]
    recover = [*digits, "--teacher", str(teacher)]
    for command in (
        ["distill", str(teacher), *digits, *student, "-o", "student"],
        ["prune", "student", *recover, "--set", "round_to=4", "--macs", "0.6", "-o", "pruned"],
        ["prune", "pruned", *recover, "--set", "round_to=2", "--macs", "0.7", "-o", "twice"],
        ["export", "twice", *digits, "-o", "onnx"],
        ["quantize", "onnx/model.onnx", "--calibration", "digits", "-o", "int8.onnx"],
        ["profile", "onnx/model.onnx", "int8.onnx", *digits, "--seconds", "1"],
        ["bundle", "int8.onnx", *digits, "-o", "bundle"],
        ["verify", "bundle"],
    ):
        quiet = [] if command[0] == "verify" else ["-q"]
        result = edgeopt(*command, *quiet, cwd=tmp_path)
        assert result.returncode == 0, (command, result.stdout, result.stderr)
        assert result.stdout
    samples = load_digits()["evaluation"]
    assert samples.labels is not None
    accuracy = {}
    for model in (tmp_path / "onnx" / "model.onnx", tmp_path / "int8.onnx"):
        logits = onnxruntime.InferenceSession(model).run(None, dict(samples.collate(range(len(samples)))))[0]
        accuracy[model.stem] = float((np.argmax(logits, axis=1) == samples.labels).mean())
    assert accuracy["int8"] >= 0.9
    assert accuracy["int8"] >= accuracy["model"] - 0.02


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory, data_folder: Callable[[str], Path]) -> Path:
    data_folder("ultraface_slim")
    folder = tmp_path_factory.mktemp("faces")
    result = edgeopt("run", "face-detection", "-q", cwd=folder)
    assert result.returncode in (0, 1), result.stdout + result.stderr
    return folder / "runs" / "face-detection"


def test_an_onnx_file_of_others_becomes_a_bundle(faces: Path) -> None:
    found = facts(faces)
    assert found["verify"]["variants"][-1]["accuracy"] is None
    assert found["quantize"]["size_bytes_after"] < found["quantize"]["size_bytes_before"]
    assert edgeopt("verify", str(faces / "bundle"), cwd=faces).returncode == 0


def test_an_onnx_file_is_quantized_and_bundled_stage_by_stage(tmp_path: Path, data_folder: Callable[[str], Path]) -> None:
    model = data_folder("ultraface_slim") / "version-slim-320.onnx"
    made = edgeopt(
        "quantize", str(model), "--calibration", "ultraface", "--target", "x86-vnni", "-o", "int8.onnx", "-q", cwd=tmp_path
    )
    assert made.returncode == 0, made.stderr
    packed = edgeopt("bundle", "int8.onnx", "--data", "ultraface", "-o", "bundle", cwd=tmp_path)
    assert packed.returncode == 0, packed.stderr
    assert edgeopt("verify", "bundle", cwd=tmp_path).returncode == 0


def test_text_goes_through_the_same_stages(tmp_path: Path, data_folder: Callable[[str], Path]) -> None:
    """In miniature: 64 sentences; `make text` runs the whole recipe."""
    data_folder("sst2")
    data_folder("sst2_teacher")
    small = ["data.train_limit=64", "data.calibration_limit=8", "data.evaluation_limit=48", "verify.max_drop_points=100.0"]
    options = [part for change in [*small, "profile.seconds=2.0", "compare=last"] for part in ("--set", change)]
    result = edgeopt("run", "text-classification", "-q", *options, "--out", "text", cwd=tmp_path)
    assert result.returncode in (0, 1), result.stdout + result.stderr
    found = facts(tmp_path / "text")
    assert found["distill"]["student"]["parameters"] < found["teacher"]["parameters"]
    shapes = {entry["name"]: entry["shape"] for entry in found["export"]["inputs"]}
    assert shapes == {name: ["batch", "sequence"] for name in ("input_ids", "attention_mask", "token_type_ids")}
    assert (tmp_path / "text" / "bundle" / "tokenizer.json").is_file()
    assert edgeopt("verify", "text/bundle", cwd=tmp_path).returncode == 0


def test_a_language_model_becomes_a_bundle_that_talks(tmp_path: Path) -> None:
    """In miniature: a tiny Llama with random weights and a text of few words, every step of the recipe, P-tuning first."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.generate.conftest import VOCABULARY, make_tokenizer

    teacher = tmp_path / "teacher"
    make_tokenizer(teacher)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = LlamaConfig(**sizes, vocab_size=VOCABULARY, max_position_embeddings=512, tie_word_embeddings=True)
    LlamaForCausalLM(config).save_pretrained(teacher)
    for name, times in (("train", 300), ("test", 60)):
        (tmp_path / f"{name}.txt").write_text("the cat sat on the mat and the dog ran far away. " * times, encoding="utf-8")
    texts = [f"data.train={tmp_path}/train.txt?max_length=32", f"data.evaluation={tmp_path}/test.txt?max_length=32"]
    limits = ["data.train_limit=16", "data.calibration_limit=8", "data.evaluation_limit=4", "distill.layer_count=2"]
    measured = ["generation.contexts=[16]", "generation.tokens=4", "generation.repeats=1", "compare=last", "allow_worse=true"]
    tuned = ["teacher.train.adapter.kind=p-tuning", "teacher.train.adapter.virtual_tokens=3"]
    recipe = load_recipe("language-model", [f"teacher.source={teacher}", *texts, *limits, *measured, *tuned])
    Pipeline(recipe, tmp_path / "run").run()
    found = facts(tmp_path / "run")
    rows = {row["name"]: row for row in found["verify"]["variants"]}
    assert list(rows) == ["teacher", "distill", "fp32", "int4"]
    assert found["verify"]["metric"] == "perplexity"
    assert rows["distill"]["parameters"] < rows["teacher"]["parameters"]
    assert rows["fp32"]["accuracy"] == pytest.approx(rows["distill"]["accuracy"], rel=1e-4)
    assert rows["int4"]["distances"]["KL"] > 1e-4 > rows["fp32"]["distances"]["KL"]
    assert [model["model"] for model in found["generation"]["models"]] == ["fp32", "int4"]
    assert found["generation"]["models"][1]["budgets"][0]["verdict"] == "pass"
    assert found["quantize"]["size_bytes_after"] < found["quantize"]["size_bytes_before"] / 2
    bundle = tmp_path / "run" / "bundle"
    answer = subprocess.run(
        [sys.executable, str(bundle / "chat.py"), "Hello", "--max-tokens", "4", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    said = json.loads(answer.stdout)
    assert len(said["tokens"]) <= 4
    virtual = [VOCABULARY, VOCABULARY + 1, VOCABULARY + 2]
    assert json.loads((bundle / "generation.json").read_text())["suppress"] == virtual
    golden = json.loads((bundle / "golden.json").read_text())["samples"]
    assert all(sample["prompt"][:3] == virtual and not set(virtual) & set(sample["tokens"]) for sample in golden)
    assert (bundle / "chat_template.jinja").is_file(), "the teacher's template reaches the bundle"


OF_TASKS = [f"{kind}-classification" for kind in ("text", "token", "image", "audio")] + ["sentence-embeddings", "detection"]


@pytest.mark.parametrize("name", OF_TASKS)
def test_the_recipe_of_each_task_reads_its_data(name: str, data_root: Path, tmp_path: Path) -> None:
    if not data_root.is_dir():
        pytest.skip("EDGEOPT_DATA is not there")
    recipe = load_recipe(name)
    data = Pipeline(recipe, tmp_path)._data
    evaluation = data.split("evaluation")
    task = find_task(recipe.task or "text-classification")
    assert task.is_labelled(evaluation)
    assert len(data.split("calibration")) >= 20
