"""What a bundle expects of a device: placement, integer kernels, latency; each failure by how much and with its own status."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser

from edgeopt.bundle import BundleSpec, verify_bundle, write_bundle
from edgeopt.bundle.verify import VerifyReport, device_verify
from edgeopt.device_code import inference
from edgeopt.graph.integer_operators import INTEGER_PRODUCTS, INTEGER_WEIGHTS

conditions = inference("conditions")
QUANTIZED = """
<ir_version: 9, opset_import: ["" : 19]>
project (float[batch, 4] x) => (float[batch, 3] y) {
    scale = Constant <value_float = 0.05> ()
    zero = Constant <value = uint8 {128}> ()
    xq = QuantizeLinear (x, scale, zero)
    xd = DequantizeLinear (xq, scale, zero)
    wscale = Constant <value_float = 0.01> ()
    wd = DequantizeLinear (weight, wscale, wzero)
    product = MatMul (xd, wd)
    yscale = Constant <value_float = 0.1> ()
    yq = QuantizeLinear (product, yscale, zero)
    y = DequantizeLinear (yq, yscale, zero)
}
"""


def bundle_of(tmp_path: Path, **changes: Any) -> Path:
    model = onnx.parser.parse_model(QUANTIZED)
    weight = np.random.default_rng(0).integers(-90, 90, (4, 3)).astype(np.int8)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "weight"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0, np.int8), "wzero"))
    onnx.save(model, tmp_path / "model.onnx")
    golden = [{"x": np.linspace(-2, 2, 4, dtype=np.float32)[None]}]
    spec = BundleSpec(tmp_path / "model.onnx", "q", "regression", "host", golden, **changes)
    write_bundle(spec, output=tmp_path / "bundle")
    return tmp_path / "bundle"


def forged(bundle: Path, change: Any) -> VerifyReport:
    """Verify a bundle whose manifest was changed, with the seal made right."""
    code = device_verify()
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    change(manifest)
    (bundle / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    (bundle / "SHA256SUMS").write_text(code.sums_text(code.sha256(bundle / "bundle.json"), manifest["files"]), encoding="utf-8")
    return verify_bundle(bundle)


def failed(report: VerifyReport) -> tuple[str, str, int]:
    (check,) = [check for check in report.checks if check.status == "failed"]
    assert report.exit_code == check.exit_status
    return check.name, check.detail, check.exit_status


def test_the_operators_counted_here_are_those_of_the_engine() -> None:
    assert conditions.INTEGER == INTEGER_PRODUCTS | INTEGER_WEIGHTS
    assert not conditions.INTEGER & conditions.FLOATING


def test_a_bundle_records_what_ran_and_finds_it_again(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path)
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    (entry,) = manifest["expected"]["placement"]
    assert entry["kernels"]["CPUExecutionProvider"]["QLinearMatMul"] == 1
    assert manifest["expected"]["latency"] is None
    details = {check.name: check.detail for check in verify_bundle(bundle).checks}
    assert "as recorded" in details["placement"] and details["coverage"].startswith("1 of 1 kernels that multiply")


def test_integer_kernels_that_fell_back_have_status_11(tmp_path: Path) -> None:
    def more(manifest: dict[str, Any]) -> None:
        kernels = manifest["expected"]["placement"][0]["kernels"]["CPUExecutionProvider"]
        del kernels["QLinearMatMul"]
        kernels |= {"QLinearConv": 9, "Conv": 1}

    bundle = bundle_of(tmp_path)
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    model = onnx.load(bundle / "model.onnx")
    assert forged(bundle, more).passed  # 1 of 1 is more than 9 of 10
    slow = {"CPUExecutionProvider": {"MatMul": 3, "QLinearMatMul": 1}}
    name, status, detail, code = conditions.covered(slow, manifest["expected"]["placement"][0])
    assert (name, status, code) == ("coverage", "failed", 11) and len(model.graph.node) == 10
    assert detail == (
        "1 of 4 kernels that multiply do so on integers (25%), recorded are 1 of 1 (100%): MatMul fell back to floating point"
    )


def test_kernels_off_the_provider_have_status_10() -> None:
    entry = {"kernels": {"NpuExecutionProvider": {"subgraph": 1}, "CPUExecutionProvider": {"Cast": 1}}}
    here = {"NpuExecutionProvider": {"subgraph": 2}, "CPUExecutionProvider": {"Cast": 1, "Resize": 2, "Softmax": 1}}
    name, status, detail, code = conditions.placed(here, entry, "NpuExecutionProvider")
    assert (name, status, code) == ("placement", "failed", 10)
    assert detail == "4 of 6 kernels do not run on NpuExecutionProvider, recorded are 1; among them Resize (2), Softmax (1)"
    assert conditions.placed(entry["kernels"], entry, "NpuExecutionProvider")[1] == "passed"


def test_what_cannot_be_read_fails_in_one_line(tmp_path: Path) -> None:
    def crafted(manifest: dict[str, Any]) -> None:
        manifest["expected"]["placement"] = [{"provider": "CPUExecutionProvider", "kernels": 7}]

    name, detail, code = failed(forged(bundle_of(tmp_path), crafted))
    assert (name, code) == ("placement", 1) and detail.startswith("what it expects cannot be read: ")


def test_a_budget_is_judged_by_p95_and_missed_with_status_12(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path)
    assert verify_bundle(bundle, budget="10000").passed
    name, detail, code = failed(verify_bundle(bundle, budget="0.0000001"))
    assert (name, code) == ("latency", 12) and "over 1e-07 ms, the budget" in detail
    report = verify_bundle(bundle, budget="recorded")
    assert (report.verdict, report.exit_code) == ("incomplete", 2)
    assert report.checks[-1].detail == "the bundle records no latency; name a budget in ms"


def test_a_recorded_latency_is_asked_of_the_same_kind_of_device_only(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path, latency=True)
    recorded = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))["expected"]["latency"]
    assert recorded["device"] == conditions.device() and 0 < recorded["p50_ms"] <= recorded["p95_ms"] and recorded["runs"] >= 20

    def slower(manifest: dict[str, Any]) -> None:
        manifest["expected"]["latency"]["p95_ms"] = 1e-9

    assert forged(bundle, slower).passed  # no budget is asked for
    assert failed(verify_bundle(bundle, budget="recorded"))[2] == 12

    def elsewhere(manifest: dict[str, Any]) -> None:
        manifest["expected"]["latency"]["device"]["cpu"] = "Cortex-A76"

    forged(bundle, elsewhere)
    report = verify_bundle(bundle, budget="recorded")
    assert report.exit_code == 2 and "recorded on Cortex-A76" in report.checks[-1].detail


def test_latency_leaves_warm_up_out_and_ends() -> None:
    class Session:
        runs = 0

        def run(self, outputs: None, feeds: dict[str, Any]) -> None:
            self.runs += 1

    def ticks(step: float) -> Iterator[float]:
        now = 0.0
        while True:
            yield now
            now += step

    session = Session()
    found = conditions.latency(session, {}, ticks(0.001).__next__)
    assert session.runs == found["runs"] + 3 and found["runs"] >= 20
    assert found["p50_ms"] == found["p95_ms"] == 1.0
    assert conditions.latency(Session(), {}, ticks(100.0).__next__)["runs"] == 1
