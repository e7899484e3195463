"""The stage `verify`: models are told by their roles, and the quantized one is judged."""

from __future__ import annotations

import json

import numpy as np

from edgeopt.roles import Role
from edgeopt.stages.onnx_import import ImportFacts, run_import
from edgeopt.stages.results import read_facts
from edgeopt.stages.verify import run_verify
from tests.stages.conftest import MakeJob
from tests.stages.test_results import QUANTIZED

RIGHT = np.eye(4)
WRONG = np.eye(4)[[1, 1, 2, 3]]  # takes class 0 for class 1
IMPORTED = ImportFacts(21, 1, (), (), 300)


def test_the_quantized_model_is_compared_with_the_baseline(make_job: MakeJob) -> None:
    job = make_job({"import": RIGHT, "quantize": WRONG}, {"import": IMPORTED, "quantize": QUANTIZED})
    found = run_verify(job)
    assert [(row.name, row.role, row.accuracy, row.size_bytes) for row in found.variants] == [
        ("fp32", Role.BASELINE, 1.0, 300),
        ("int8", Role.QUANTIZED, 0.75, QUANTIZED.size_bytes_after),
    ]
    assert found.verdict == "fail"
    assert found.reason == "int8 loses 25.00 points of accuracy against fp32 (1 allowed): 75.00 % after 100.00 %"
    assert (found.whole_verdict, found.samples, found.metric) == (None, 8, "accuracy")
    assert [(item.source, item.result) for item in found.divergence] == [("fp32", "int8")]
    written = json.loads((job.workspace.output / "verify.json").read_text(encoding="utf-8"))
    assert read_facts("verify", written) == found


def test_the_order_of_the_inputs_means_nothing(make_job: MakeJob) -> None:
    job = make_job({"quantize": WRONG, "import": RIGHT}, {"import": IMPORTED, "quantize": QUANTIZED})
    assert run_verify(job).reason.startswith("int8 loses 25.00 points")


def test_an_imported_file_is_described_and_copied(make_job: MakeJob) -> None:
    job = make_job({"import": RIGHT}, {})
    found = run_import(job)
    assert (found.opset, found.nodes) == (21, 1)
    assert [(spec.name, spec.shape) for spec in (*found.inputs, *found.outputs)] == [("x", ("n", 4)), ("y", ("n", 4))]
    assert (job.workspace.output / "model.onnx").is_file()
