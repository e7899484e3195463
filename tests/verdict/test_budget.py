"""Budgets: their language, and verdicts that are wrong no more often than promised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeopt.errors import RecipeError
from edgeopt.verdict.budget import Budget, judge_figures, judge_latency, variants_of


def test_an_expression_is_read() -> None:
    budget = Budget.parse(" int8: p95_ms <= 20 @99%")
    assert (budget.variant, budget.metric, budget.sign, budget.limit, budget.confidence) == ("int8", "p95_ms", "<=", 20.0, 0.99)
    assert budget.quantile == 0.95
    assert Budget.parse("median_ms<1.5e1").metric == "p50_ms"
    assert Budget.parse("size_mb<4", confidence=0.9).confidence == 0.9
    assert Budget.parse("p99.9_ms<=7").quantile == pytest.approx(0.999)


@pytest.mark.parametrize(
    ("front", "variant", "target"),
    [
        ("", None, None),
        ("int8:", "int8", None),
        ("on arm64:", None, "arm64"),
        ("a on b on arm64:", "a on b", "arm64"),
    ],
)
def test_what_a_budget_is_about(front: str, variant: str | None, target: str | None) -> None:
    budget = Budget.parse(f"{front} accuracy_drop<=0.5")
    assert (budget.variant, budget.target, budget.metric, budget.asked) == (variant, target, "accuracy_drop", False)


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("p95<=20", "unknown metric 'p95' (did you mean 'p95_ms'?)"),
        ("p95_ms=20", "not understood"),
        ("p0_ms<=20", "unknown metric"),
        ("fast", "not understood"),
        ("p95_ms<=20 @100%", "below 100 %"),
        ("p95_ms<=20 @9%", "at least 50 %"),
        ("", "not understood"),
        ("p95_ms<=1.2.3", "not understood"),
    ],
)
def test_what_is_wrong_is_said(expression: str, says: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Budget.parse(expression)
    assert says in str(caught.value) and "\n" not in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert Budget.parse(text).limit is not None
    except RecipeError as error:
        assert str(error)


def _wrong_verdicts(limit_factor: float, bad: str) -> int:
    """Ask again and again while samples come in, as a profile does; count runs that ever answered `bad`."""
    rng = np.random.default_rng(4)
    truth = float(np.quantile(rng.lognormal(sigma=0.3, size=1_000_000), 0.9))
    budget = Budget("x", None, "p90_ms", "<=", truth * limit_factor, 0.95)
    wrong = 0
    for _ in range(300):
        samples = rng.lognormal(sigma=0.3, size=1920)
        verdicts = [judge_latency(budget, "v", samples[: 30 * 2**look], look=look + 1).verdict for look in range(7)]
        wrong += bad in verdicts
    return wrong


def test_a_budget_just_missed_passes_no_more_often_than_promised() -> None:
    assert _wrong_verdicts(0.999, "pass") <= 0.05 * 300


def test_a_budget_just_met_fails_no_more_often_than_promised() -> None:
    assert _wrong_verdicts(1.001, "fail") <= 0.05 * 300


def test_clear_cases_are_decided() -> None:
    samples = np.random.default_rng(0).lognormal(sigma=0.1, size=400)
    assert judge_latency(Budget.parse("p95_ms<=2 @99%"), "v", samples).verdict == "pass"
    assert judge_latency(Budget.parse("p95_ms<=1 @99%"), "v", samples).verdict == "fail"
    assert judge_latency(Budget.parse("p50_ms>=0.5"), "v", samples).verdict == "pass"
    assert judge_latency(Budget.parse("p50_ms>=1.5"), "v", samples).verdict == "fail"


def test_too_few_runs_are_undecided_and_say_how_many_are_missing() -> None:
    verdict = judge_latency(Budget.parse("p99_ms<=2 @99%"), "v", np.random.default_rng(0).normal(1, 0.1, 50))
    assert verdict.verdict == "undecided" and verdict.more_runs is not None and verdict.more_runs >= 50
    assert judge_latency(Budget.parse("p99_ms<=2"), "v", np.array([])).verdict == "undecided"


def test_figures_measured_a_few_times_must_agree() -> None:
    budget = Budget.parse("peak_rss_mb<=100")
    assert judge_figures(budget, "v", [80e6, 90e6], "").verdict == "pass"
    assert judge_figures(budget, "v", [80e6, 120e6], "").verdict == "undecided"
    assert judge_figures(budget, "v", [110e6, 120e6], "").verdict == "fail"
    missing = judge_figures(budget, "v", None, "the device does not show it")
    assert missing.verdict == "undecided" and missing.reason == "the device does not show it"
    assert judge_figures(Budget.parse("size_mb<=1.5"), "v", [1_400_000], "").value == 1.4


@pytest.mark.parametrize(
    ("metric", "figure", "read"),
    [
        ("size_bytes", 1536.0, 1536.0),
        ("size_kb", 1536.0, 1.536),
        ("size_mb", 2_500_000.0, 2.5),
        ("peak_rss_bytes", 7.0, 7.0),
        ("peak_rss_mb", 2_500_000.0, 2.5),
        *[(name, 3.5, 3.5) for name in ("load_ms", "first_run_ms", "cold_start_ms", "int8_macs_share", "cpu_fallback_share")],
        *[(name, 3.5, 3.5) for name in ("partitions", "accuracy_drop", "ttft_ms", "prefill_tokens_per_s", "tokens_per_s")],
        *[(f"inter_token_p{share}_ms", 3.5, 3.5) for share in (50, 95, 99)],
        ("rss_mb", 2_500_000.0, 2.5),
    ],
)
def test_a_figure_is_read_in_the_unit_of_its_budget(metric: str, figure: float, read: float) -> None:
    generation = metric in {"ttft_ms", "rss_mb"} or "token" in metric
    budget = (Budget.parse_generation if generation else Budget.parse)(f"{metric}<=1")
    judged = judge_figures(budget, "v", [figure], "")
    assert judged.value == pytest.approx(read, rel=1e-12)
    assert judged.reason == f"it is {read:.6g}"
    assert judge_figures(budget, "v", [figure, figure], "").reason == "0 of 2 measurements meet it"


def test_runs_that_are_missing_follow_from_the_normal_approximation() -> None:
    # 90 of 100 samples meet the limit of a p95 budget: 5 points apart; z of 1 - 5 % / 2 is 1.95996
    samples = np.concatenate([np.full(90, 1.0), np.full(10, 3.0)])
    judged = judge_latency(Budget.parse("p95_ms<=2"), "v", samples)
    assert judged.verdict == "undecided" and judged.more_runs == 100  # ⌈3.8415 · 0.0475 / 0.0025⌉ = 73, as many again at least
    even = judge_latency(Budget.parse("p50_ms<=2"), "v", np.tile([1.0, 3.0], 50))
    # the share is the quantile itself, so half a sample is the difference: ⌈3.8415 · 0.25 / 0.005²⌉ - 100
    assert even.more_runs == pytest.approx(38415 - 100, abs=2)
    assert even.reason.startswith("between 1 and 3 ms (95 % confidence in each direction, n = 100); about ")


def test_a_budget_is_about_every_variant_but_the_baseline_unless_it_names_one() -> None:
    assert variants_of(Budget.parse("size_mb<=1"), ["fp32", "int8", "fp16"]) == ["int8", "fp16"]
    assert variants_of(Budget.parse("size_mb<=1"), ["only"]) == ["only"]
    assert variants_of(Budget.parse("fp32: size_mb<=1"), ["fp32", "int8"]) == ["fp32"]
    assert variants_of(Budget.parse("size_mb<=1"), ["fp32", "int8", "teacher"], ["teacher"]) == ["int8"]
    assert variants_of(Budget.parse("teacher: size_mb<=1"), ["fp32", "int8", "teacher"], ["teacher"]) == ["teacher"]
    with pytest.raises(RecipeError, match="did you mean 'int8'"):
        variants_of(Budget.parse("int9: size_mb<=1"), ["fp32", "int8"])


def test_budgets_on_generation_are_read_by_the_same_grammar():
    budget = Budget.parse_generation(" int4: tokens_per_s >= 4e1 ")
    assert (budget.variant, budget.metric, budget.sign, budget.limit) == ("int4", "tokens_per_s", ">=", 40)
    assert Budget.parse_generation("rss_mb<230").holds(229.9)
    for text, said in {
        "ttft<=3": "did you mean 'ttft_ms'",
        "fast": "is not understood",
        "p95_ms<=3": "unknown metric",
        "ttft_ms<=3 @99%": "leave out the @",
        "ttft_ms<=1.2.3": "is not understood",
    }.items():
        with pytest.raises(RecipeError, match=said):
            Budget.parse_generation(text)
