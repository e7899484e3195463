"""MLPerf's scenarios: their estimates against plain references and published runs, their patterns for real."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from edgeopt.errors import RecipeError
from edgeopt.profile.scenarios import ScenarioConfig, early_stopping, measure_scenarios, server_latencies, server_rate
from edgeopt.targets.target import load_target


@pytest.mark.parametrize(("q", "fewest"), [(0.9, 64), (0.99, 662)])
def test_the_fewest_queries_are_mlperfs_and_give_the_maximum(q: float, fewest: int) -> None:
    latencies = np.random.default_rng(0).permutation(fewest).astype(float)
    assert early_stopping(latencies, q) == fewest - 1
    assert early_stopping(latencies[1:], q) is None


@pytest.mark.parametrize(("n", "discarded"), [(1_179_125, 11_539), (2_091_550, 20_579)])
def test_as_many_are_discarded_as_in_published_multi_stream_results(n: int, discarded: int) -> None:
    assert early_stopping(np.arange(n, dtype=float), 0.99) == n - 1 - discarded


def test_early_stopping_is_the_plain_sum() -> None:
    n, q = 300, 0.9
    at_most = [sum(math.comb(n, k) * (1 - q) ** k * q ** (n - k) for k in range(t + 1)) for t in range(n)]
    t = max(t for t in range(n) if at_most[t] <= 0.01)
    assert early_stopping(np.arange(n, dtype=float), q) == n - t


def test_the_queue_is_lindleys_recursion() -> None:
    service = np.random.default_rng(1).lognormal(size=500)
    gaps = np.random.default_rng(2).exponential(1e3 / 400, 500)
    wait, plain = 0.0, []
    for place, time in enumerate(service):
        wait = 0.0 if place == 0 else max(0.0, wait + service[place - 1] - gaps[place])
        plain.append(wait + time)
    worst = np.abs(server_latencies(service, 400, np.random.default_rng(2)) - plain).max()
    assert worst < 1e-9, f"largest error {worst}"


def test_the_rate_of_a_queue_with_exponential_service_is_the_known_one() -> None:
    service = np.random.default_rng(3).exponential(1.0, 50_000)  # M/M/1: latency is exponential with rate mu - lambda
    bound_ms = 20.0
    known = (1.0 - math.log(100) / bound_ms) * 1e3  # P(latency > bound) = 1 %
    rate = server_rate(service, bound_ms, seed=0)
    assert rate is not None and abs(rate / known - 1) < 0.08, (rate, known)
    assert server_rate(service, 2.0, seed=0) is None


def test_a_queue_serves_no_more_than_what_was_measured_allows() -> None:
    service = np.full(19_900, 0.002)
    service[7] = 20.0  # a pause, which draws of these times may leave out
    most = 1e3 / service.mean()
    assert all((rate := server_rate(service, 50.0, seed)) and rate <= most for seed in range(8))


def _here() -> Any:
    target = load_target("x86-avx2")
    return target.model_copy(update={"device": target.device.model_copy(update={"machine": [], "cpu_flags": []})})


def _model(path: Path, rows: str) -> Path:
    text = f'<ir_version: 8, opset_import: ["": 17]> n (float[{rows}, 64] x) => (float[{rows}, 64] y) {{ y = MatMul (x, w) }}'
    made = onnx.parser.parse_model(text)
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.eye(64, dtype=np.float32), "w"))
    onnx.save(made, path)
    return path


_ROWS = [{"x": np.full((1, 64), number, np.float32)} for number in range(3)]


def test_all_scenarios_for_real(tmp_path: Path) -> None:
    config = ScenarioConfig(
        scenarios=["single-stream", "multi-stream", "offline", "server"], seconds=1.5, server_latency_ms=50.0
    )
    result = measure_scenarios(_model(tmp_path / "m.onnx", "N"), _ROWS, target=_here(), config=config)
    single, multi, offline, server = result.figures
    assert (single.metric, single.needs_queries, multi.metric, multi.needs_queries) == ("p90_ms", 64, "p99_ms", 662)
    assert single.value and multi.value and multi.samples_per_query == 8 and multi.how == "one run of batch 8 per query"
    assert offline.value and single.samples_per_s and offline.value > single.samples_per_s, "batches must pay here"
    assert server.value and server.value <= single.samples_per_s and "computed" in server.how
    assert json.dumps(result.facts(), allow_nan=False)


def test_a_fixed_batch_axis_streams_eight_runs_and_what_cannot_be_is_refused(tmp_path: Path) -> None:
    fixed = _model(tmp_path / "f.onnx", "1")
    result = measure_scenarios(fixed, _ROWS, target=_here(), config=ScenarioConfig(seconds=0.5))
    assert "8 runs per query" in result.figures[1].how and result.figures[2].how == "batch 1"
    with pytest.raises(RecipeError, match="set server_latency_ms"):
        measure_scenarios(fixed, _ROWS, target=_here(), config=ScenarioConfig(scenarios=["server"]))
    with pytest.raises(RecipeError, match="is an emulator"):
        measure_scenarios(fixed, _ROWS, target=load_target("arm64-emulated"))
