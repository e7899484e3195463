"""The whole stage: statistics on a planted device, and once for real on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from edgeopt.errors import DataError, ModelError, RecipeError
from edgeopt.profile.assembly import Evidence
from edgeopt.profile.config import ProfileConfig
from edgeopt.profile.operators import read_operators
from edgeopt.profile.result import ProfileResult
from edgeopt.profile.stage import make_judge, measure, profile, summarize
from edgeopt.targets.requests import Sent, greet
from edgeopt.targets.target import load_target

_MODEL = """
<ir_version: 8, opset_import: ["": 17]>
dense (float[N, 4] x) => (float[N, 4] y) { h = Mul(x, x) y = Tanh(h) }
"""


def _run(runner: Any, *, sizes: dict[str, int] | None = None, **options: Any) -> ProfileResult:
    config = ProfileConfig(**{"seconds": 5.0, **options})
    names = list(runner.laws)
    judge = make_judge(names, config, target=load_target("arm64"), drops={"a": 0.4})
    hello = greet(runner, where="here")
    raw = measure(
        runner,
        dict.fromkeys(names, Sent("m", "i", {})),
        config=config,
        judge=judge,
        overhead_ns=hello.overhead_ns,
        clock=runner.clock,
    )
    evidence = {
        name: Evidence((sizes or {}).get(name, 1_000_000), raw.cold[name], read_operators(raw.operators[name], None), None)
        for name in names
    }
    return summarize(raw, hello, judge, evidence, target=load_target("arm64"), config=config)


def test_planted_latencies_come_back_with_overhead_counted_out(fake_runner: Any, level: Callable[..., Any]) -> None:
    result = _run(fake_runner({"a": level(2.0), "b": level(3.0)}), seconds=20.0)
    a, b = result.variants
    assert [found.statistic for found in a.latency] == ["p50", "p90", "p95", "p99"]
    for variant, ms in ((a, 2.0), (b, 3.0)):
        p50 = variant.latency[0]
        assert p50.low_ms <= p50.value_ms <= p50.high_ms and abs(p50.value_ms - ms) < 0.02 * ms
    [pair] = result.comparisons
    assert (pair.a, pair.b, pair.decision) == ("a", "b", "slower")
    assert pair.low is not None and pair.high is not None and pair.low < 1.5 < pair.high
    assert result.warnings[0].startswith("b is slower than a: 1.")


def test_intervals_of_whole_profiles_hold_the_planted_median(fake_runner: Any, level: Callable[..., Any]) -> None:
    draws, covered, ratios = 200, 0, 0
    for seed in range(draws):
        runner = fake_runner({"a": level(4.0, sigma=0.3), "b": level(5.0, sigma=0.3)}, seed=seed)
        result = _run(runner, seconds=1.5, cold_starts=1, operator_runs=0)
        p50, [pair] = result.variants[0].latency[0], result.comparisons
        covered += p50.low_ms <= 4.0 <= p50.high_ms
        ratios += pair.low is None or pair.high is None or pair.low <= 1.25 <= pair.high
    fewest = 0.95 * draws - 2 * (draws * 0.05 * 0.95) ** 0.5
    assert covered >= fewest and ratios >= fewest, (covered, ratios)


def test_the_time_box_is_kept(fake_runner: Any, level: Callable[..., Any]) -> None:
    runner = fake_runner({"a": level(400.0), "b": level(900.0)})
    result = _run(runner, seconds=10.0)
    assert result.elapsed_s < 10 + 3 * 1.3  # one round may have begun just before the end
    assert result.variants[0].n > 0


def test_warm_up_does_not_count(fake_runner: Any) -> None:
    begin: list[float] = []

    def warming(rng: np.random.Generator, runs: int, now: float) -> Any:
        begin.append(now)
        return 5.0 * (1 + np.exp(-(now - begin[0]) / 0.1)) * rng.lognormal(sigma=0.01, size=runs)

    [variant] = _run(fake_runner({"a": warming})).variants
    assert variant.warmup_runs >= 20 and variant.steady
    assert max(variant.samples_ms) < 5.6


def test_sampling_stops_early_once_every_budget_is_decided(fake_runner: Any, level: Callable[..., Any]) -> None:
    runner = fake_runner({"a": level(5.0)})
    result = _run(runner, seconds=600.0, budget=["p50_ms<=50 @99%"])
    assert result.verdict == "pass" and result.elapsed_s < 10


def test_an_undecidable_budget_uses_the_whole_time_and_says_so(fake_runner: Any, level: Callable[..., Any]) -> None:
    result = _run(fake_runner({"a": level(5.0)}), seconds=8.0, budget=["p50_ms<=5.0 @99.99%"])
    assert result.verdict == "undecided" and result.elapsed_s > 7
    assert "more runs needed" in result.budgets[0].reason and result.budgets[0].more_runs


def test_sampling_stops_early_once_the_variants_are_told_apart(fake_runner: Any, level: Callable[..., Any]) -> None:
    for ms, decision in ((5.5, "slower"), (5.0, "same")):
        runner = fake_runner({"a": level(5.0), "b": level(ms)})
        result = _run(runner, seconds=600.0, stop_when_compared=True)
        assert result.comparisons[0].decision == decision and result.elapsed_s < 60 and result.comparisons[0].confidence > 0.95


def test_looking_again_and_again_finds_no_difference_where_there_is_none(fake_runner: Any, level: Callable[..., Any]) -> None:
    decisions = []
    for seed in range(40):
        runner = fake_runner({"a": level(5.0, sigma=0.3), "b": level(5.0, sigma=0.3)}, seed=seed)
        result = _run(runner, seconds=15.0, stop_when_compared=True, margin=0.0)
        decisions.append(result.comparisons[0].decision)
    assert sum(decision in ("slower", "faster") for decision in decisions) <= 2 + 3, decisions


def test_budgets_on_figures(fake_runner: Any, level: Callable[..., Any]) -> None:
    runner = fake_runner({"a": level(5.0)})
    runner.load_ms = [20.0, 80.0, 30.0]
    result = _run(
        runner,
        seconds=3.0,
        sizes={"a": 2_500_000},
        budget=["size_mb<=2", "peak_rss_mb<=100", "load_ms<=50", "cold_start_ms<=500", "int8_macs_share>=0.5", "partitions<=1"],
    )
    assert [judged.verdict for judged in result.budgets] == ["fail", "pass", "undecided", "pass", "fail", "undecided"]
    assert result.budgets[-1].reason == "partitions is not known on this target"
    assert result.verdict == "fail"
    assert result.variants[0].peak_rss_bytes == 90_000_000 and result.variants[0].model_rss_bytes == 40_000_000


def test_budgets_of_another_target_are_left_to_it_accuracy_is_handed_in(fake_runner: Any, level: Callable[..., Any]) -> None:
    budgets = ["on x86-vnni: size_mb<=0.1", "a on arm64: accuracy_drop<=0.5", "accuracy_drop<=0.3 @99%"]
    result = _run(fake_runner({"a": level(5.0)}), seconds=1.0, budget=budgets)
    assert [(judged.expression, judged.verdict) for judged in result.budgets] == [(budgets[1], "pass"), (budgets[2], "fail")]


def test_a_busy_machine_is_noticed(fake_runner: Any, level: Callable[..., Any]) -> None:
    runner = fake_runner({"a": level(5.0)})
    runner.idle_cores = 0.9
    result = _run(runner, seconds=3.0)
    assert result.conditions and result.conditions.busy and any("machine was busy" in warning for warning in result.warnings)


def test_a_busy_machine_that_hides_its_load_shows_in_its_switches(fake_runner: Any, level: Callable[..., Any]) -> None:
    for switches, busy in ((2, False), (60, True)):
        runner = fake_runner({"a": level(5.0)})
        runner.others_told, runner.switches = False, switches
        result = _run(runner, seconds=3.0)
        assert result.conditions and result.conditions.busy is busy and result.conditions.others_cores is None


def test_a_busy_machine_calls_only_large_differences(fake_runner: Any, level: Callable[..., Any]) -> None:
    for ms, decision in ((5.3, "same"), (7.0, "slower")):
        runner = fake_runner({"a": level(5.0), "b": level(ms)})
        runner.idle_cores = 0.9
        [pair] = _run(runner, seconds=10.0).comparisons
        assert pair.decision == decision


def test_on_a_busy_machine_processor_time_tells_small_differences(fake_runner: Any, level: Callable[..., Any]) -> None:
    runner = fake_runner({"a": level(10.0, sigma=0.5), "b": level(10.0, sigma=0.5)})
    runner.own_ms = {"a": level(5.0), "b": level(5.25)}
    runner.idle_cores = 1.5
    [pair] = _run(runner, seconds=20.0).comparisons
    assert (pair.decision, pair.basis) == ("slower", "processor time")
    runner.idle_cores = 0.0
    assert _run(runner, seconds=20.0).comparisons[0].basis == "clock"


def test_disturbed_stretches_are_left_out_when_enough_quiet_ones_are_left(fake_runner: Any) -> None:
    runner = fake_runner({})

    def disturbed(rng: np.random.Generator, runs: int, now: float) -> Any:
        busy = int(now) % 3 == 0
        runner.others_cores += busy
        return (9.0 if busy else 5.0) * rng.lognormal(sigma=0.01, size=runs)

    runner.laws = {"a": disturbed}
    result = _run(runner, seconds=20.0)
    assert result.conditions and not result.conditions.busy and 0 < result.conditions.quiet_chunks < result.conditions.chunks
    assert any("are left out" in warning for warning in result.warnings)
    p95 = next(found for found in result.variants[0].latency if found.statistic == "p95")
    assert p95.high_ms < 6.0


def test_no_percentile_without_the_runs_it_needs(fake_runner: Any, level: Callable[..., Any]) -> None:
    [variant] = _run(fake_runner({"a": level(120.0)}), seconds=6.0).variants
    assert variant.n < 60
    assert [found.statistic for found in variant.latency] == ["p50"]
    assert [(item.statistic, item.needs_runs) for item in variant.withheld][-1] == ("p99", 555)


def test_many_runs_are_thinned_and_say_so(fake_runner: Any, level: Callable[..., Any]) -> None:
    [variant] = _run(fake_runner({"a": level(0.5)}), seconds=5.0).variants
    assert variant.n > 2000 and len(variant.samples_ms) == 2000 and variant.samples_thinned


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx.save(onnx.parser.parse_model(_MODEL), tmp_path / "dense.onnx")
    return tmp_path / "dense.onnx"


_ROWS = [{"x": np.ones((2, 4), np.float32)}, {"x": np.ones((5, 4), np.float32)}]


def _here() -> Any:
    target = load_target("x86-avx2")
    return target.model_copy(update={"device": target.device.model_copy(update={"machine": [], "cpu_flags": []})})


def test_for_real(model: Path) -> None:
    result = profile(
        {"one": model, "two": model}, _ROWS, target=_here(), config=ProfileConfig(seconds=1.5, cold_starts=1, roofline=False)
    )
    one, two = result.variants
    assert result.provider == "CPUExecutionProvider" and result.batches == 2 and result.call == "io_binding"
    assert one.n > 50 and one.latency[0].statistic == "p50" and 0 < one.latency[0].value_ms < 50
    assert [(point.scope, point.label) for point in one.memory_timeline[:3]] == [
        ("process", "before load"),
        ("process", "loaded"),
        ("process", "first run"),
    ]
    assert [(point.scope, point.op) for point in one.memory_timeline[4:]] == [("arena", "Mul"), ("arena", "Tanh")]
    assert one.size_bytes == model.stat().st_size and one.load_ms > 0 and one.first_run_ms > 0
    assert {node.op for node in two.operators} == {"Mul", "Tanh"} and abs(sum(node.share for node in two.operators) - 1) < 1e-9
    assert json.loads(json.dumps(result.facts(), allow_nan=False)) == result.facts()


def test_bad_input_is_refused_before_anything_runs(model: Path, tmp_path: Path) -> None:
    here = _here()
    with pytest.raises(DataError, match=r"batch 1, input 'x' .* shape \[5, 3\], expected \['N', 4\]"):
        profile({"m": model}, [_ROWS[0], {"x": np.ones((5, 3), np.float32)}], target=here)
    with pytest.raises(DataError, match="dtype float64, expected float32"):
        profile({"m": model}, [{"x": np.ones((2, 4))}], target=here)
    with pytest.raises(DataError, match=r"batch 0 has inputs \['z'\], but m .* takes \['x'\]"):
        profile({"m": model}, [{"z": np.ones((2, 4), np.float32)}], target=here)
    with pytest.raises(DataError, match="no input batches"):
        profile({"m": model}, [], target=here)
    with pytest.raises(DataError, match="no model"):
        profile({}, _ROWS, target=here)
    with pytest.raises(ModelError, match="no such model file"):
        profile({"m": tmp_path / "none.onnx"}, _ROWS, target=here)
    with pytest.raises(RecipeError, match=r"no target 'arm65' .did you mean 'arm64'"):
        profile({"m": model}, _ROWS, target=here, config=ProfileConfig(budget=["on arm65: size_mb<=1"]))
    with pytest.raises(RecipeError, match="no variant 'int8'"):
        profile({"m": model}, _ROWS, target=here, config=ProfileConfig(budget=["int8: size_mb<=1"]))
