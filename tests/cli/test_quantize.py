"""`edgeopt quantize`: plans printed and replayed, a metric kept, layers listed."""

import json

import numpy as np
import onnx
import pytest
from onnxruntime.quantization.calibrate import load_tensors_data
from typer.testing import CliRunner

from edgeopt.cli.app import app
from edgeopt.errors import DataError

NET = """
<ir_version: 10, opset_import: ["" : 21]>
g (float[n, 3, 8, 8] x) => (float[n, 5] y) {
    a = Conv <kernel_shape = [3, 3]> (x, w1)
    r = Relu (a)
    c = Conv <kernel_shape = [3, 3]> (r, w2)
    p = GlobalAveragePool (c)
    f = Flatten (p)
    y = Gemm <transB = 1> (f, w3)
}
"""


@pytest.fixture
def folder(tmp_path):
    model = onnx.parser.parse_model(NET)
    generator = np.random.default_rng(0)
    for name, shape in {"w1": (8, 3, 3, 3), "w2": (8, 8, 3, 3), "w3": (5, 8)}.items():
        values = generator.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    onnx.save_model(model, tmp_path / "net.onnx")
    images = generator.standard_normal((12, 3, 8, 8), dtype=np.float32)
    np.savez(tmp_path / "x.npz", x=images, labels=np.arange(12) % 5)
    np.savez(tmp_path / "bare.npz", x=images)
    return tmp_path


def call(folder, *arguments, data="x.npz"):
    command = ["quantize", str(folder / "net.onnx"), "--calibration", str(folder / data), "-t", "x86-vnni", "-q", *arguments]
    return CliRunner().invoke(app, command)


def test_dry_run_prints_each_decision_with_its_reason_and_writes_nothing(folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    before = sorted(folder.iterdir())
    result = call(folder, "--dry-run")
    assert result.exit_code == 0
    for what in ("integers", "weight bits", "placement", "ranges", "smoothing", "bias correction", "embedding tables"):
        assert what in result.stdout
    assert "VNNI sums" in result.stdout
    assert "multiplies by constant weights" in result.stdout
    assert sorted(folder.iterdir()) == before


def test_a_plan_from_dry_run_is_replayed(folder):
    printed = call(folder, "--dry-run", "--format", "json").stdout
    (folder / "plan.json").write_text(printed)
    assert json.loads(printed)["target"] == "x86-vnni"
    assert call(folder, "-o", str(folder / "a.onnx")).exit_code == 0
    assert call(folder, "-o", str(folder / "b.onnx"), "--plan", str(folder / "plan.json")).exit_code == 0
    assert (folder / "a.onnx").read_bytes() == (folder / "b.onnx").read_bytes()


def test_max_drop_takes_percent_and_counts_labels(folder):
    result = call(folder, "--max-drop", "50%", "--dry-run", "--format", "json")
    assert result.exit_code == 0
    decisions = {decision["what"]: decision for decision in json.loads(result.stdout)["decisions"]}
    assert "(accuracy " in decisions["exceptions"]["reason"]


def test_max_drop_without_labels_is_judged_by_agreement(folder):
    result = call(folder, "--max-drop", "50%", "--dry-run", "--format", "json", data="bare.npz")
    assert result.exit_code == 0
    decisions = {decision["what"]: decision for decision in json.loads(result.stdout)["decisions"]}
    assert "(agreement " in decisions["exceptions"]["reason"]


@pytest.mark.parametrize(
    ("arguments", "data", "said"),
    [
        (["--max-drop", "1%", "--task", "object-detection", "--dry-run"], "bare.npz", "needs labelled samples"),
        (["--max-drop", "little", "--dry-run"], "x.npz", "percentage such as 0.5%"),
        (["--memory-limit", "much", "--dry-run"], "x.npz", "number of bytes"),
        (["--sensitivity", "--dry-run"], "x.npz", "leave one of them out"),
        ([], "x.npz", "--output is missing"),
        (["--max-perplexity-increase", "5%", "--dry-run"], "x.npz", "is for --preset llm"),
        (["--ranges", "minmax", "--dry-run"], "x.npz", "'min-max'"),
        (["--exclude", "nothing", "--dry-run"], "x.npz", "no node 'nothing'"),
    ],
)
def test_what_does_not_fit_is_said(folder, arguments, data, said):
    result = call(folder, *arguments, data=data)
    assert result.exception is not None
    assert said in str(result.exception)
    assert "\n" not in str(result.exception)


def test_sensitivity_and_memory_limit(folder):
    output = str(folder / "q.onnx")
    result = call(folder, "-o", output, "--sensitivity", "--memory-limit", "2MB", "--format", "json", "--ranges", "mse")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert {row["op"] for row in rows} == {"Conv", "Gemm"}
    assert all(row["SQNR of the outputs"].endswith(" dB") for row in rows)
    assert all(row["metric drop"] == "" for row in rows)


def test_the_metric_is_measured_for_the_suspects(folder):
    result = call(
        folder, "-o", str(folder / "q.onnx"), "--sensitivity", "--evaluate", str(folder / "x.npz"), "--format", "json"
    )
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert all(row["metric drop"].endswith(" points") for row in rows)
    lost = {
        round(float(row["metric"].removesuffix(" %")) + float(row["metric drop"].removesuffix(" points")), 2) for row in rows
    }
    assert len(lost) == 1  # the accuracy in floating point, whichever layer is looked at


def test_a_cache_is_taken_again_and_refused_for_other_data(folder):
    cache = str(folder / "seen.safetensors")
    first = call(folder, "-o", str(folder / "a.onnx"), "--cache", cache, "--jobs", "2")
    assert first.exit_code == 0, first.stderr
    assert call(folder, "-o", str(folder / "b.onnx"), "--cache", cache).exit_code == 0
    assert (folder / "a.onnx").read_bytes() == (folder / "b.onnx").read_bytes()
    other = call(folder, "-o", str(folder / "c.onnx"), "--cache", cache, "--limit", "5")
    assert isinstance(other.exception, DataError)
    assert "is of other calibration data" in str(other.exception)


def test_onnxruntime_takes_the_ranges(folder):
    assert call(folder, "-o", str(folder / "a.onnx"), "--ort-cache", str(folder / "ort.json")).exit_code == 0
    stored = load_tensors_data(folder / "ort.json")
    plan = json.loads((folder / "a.plan.json").read_text())
    assert plan["tensors"]
    for tensor in plan["tensors"]:
        low, high = (float(value) for value in stored.data[tensor["name"]].range_value)
        assert (low, high) == pytest.approx((tensor["low"], tensor["high"]), rel=1e-6)


def test_jobs_change_nothing_but_the_time(folder):
    for name, jobs in (("a", "1"), ("b", "2")):
        result = call(folder, "-o", str(folder / f"{name}.onnx"), "--jobs", jobs)
        assert result.exit_code == 0, result.output
    assert (folder / "a.plan.json").read_bytes() == (folder / "b.plan.json").read_bytes()
    assert (folder / "a.onnx").read_bytes() == (folder / "b.onnx").read_bytes()


def test_json_is_all_that_stdout_holds(folder):
    result = call(folder, "-o", str(folder / "a.onnx"), "--format", "json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert (facts["target"], facts["samples"]) == ("x86-vnni", 12)
    assert facts["output"] == str(folder / "a.onnx")
    assert call(folder, "-o", str(folder / "b.onnx"), "--format", "markdown").stdout.startswith(str(folder / "b.onnx"))


def test_the_task_of_max_drop_is_named(folder):
    assert call(folder, "--task", "image-classification", "--max-drop", "50%", "--dry-run").exit_code == 0
    other = call(folder, "--task", "object-detection", "--max-drop", "50%", "--dry-run")
    assert isinstance(other.exception, DataError)
    assert "object-detection needs boxes with classes per image" in str(other.exception)
    none = call(folder, "--task", "image-clasification", "--max-drop", "50%", "--dry-run")
    assert "did you mean 'image-classification'" in str(none.exception)
