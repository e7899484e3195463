"""The verdict on planted evidence: what fails a run, what is undecided, and what the first line says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgeopt.interval import Interval
from edgeopt.metric import Metric, Scale
from edgeopt.roles import Role
from edgeopt.verdict.evidence import Evidence, ExportParity, ModelFigures, Shrinkage
from edgeopt.verdict.findings import Answer, Judgement, Verdict
from edgeopt.verdict.run import judge

FP32 = ModelFigures("fp32", Role.BASELINE, 0.90, 400_000, 8.0)
INT8 = ModelFigures("int8", Role.QUANTIZED, 0.89, 100_000, 4.0, Interval(2.0, 1.9, 2.1), "faster")
TEACHER = ModelFigures("teacher", Role.TEACHER, 0.95)
MET = Judgement("p95_ms<=5", "int8", "pass", 4.5, "between 4.4 and 4.6 ms")


def verdict(*models: ModelFigures, allow_worse: bool = False, **more: Any) -> Verdict:
    return judge(Evidence(measured=True, models=models or (FP32, INT8), **more), allow_worse=allow_worse)


def test_the_first_line_says_what_was_gained_and_lost() -> None:
    found = verdict(TEACHER, FP32, INT8)
    assert found.state == "pass"
    gains = "int8 is 2.00× as fast as fp32 and 4.00× smaller, and loses 1.00 points of accuracy, to 89.00 %"
    assert found.sentence == f"{gains} (6.00 points below the teacher)."


@pytest.mark.parametrize(
    ("metric", "values", "said"),
    [
        (
            Metric("Spearman", Scale.COEFFICIENT),
            (0.82, 0.81, 0.80),
            "loses 1.00 points of Spearman, to 0.8000 (2.00 points below",
        ),
        (Metric("WER", larger_is_better=False), (0.05, 0.06, 0.08), "loses 2.00 points of WER, to 8.00 % (3.00 points above"),
        (
            Metric("perplexity", Scale.RATIO, larger_is_better=False),
            (36.0, 40.0, 43.0),
            "is 7.5 % worse in perplexity, to 43.0000 (19.4 % above",
        ),
        (Metric("F1"), (0.9, 0.85, 0.85), "keeps its F1 of 85.00 % (5.00 points below"),
    ],
)
def test_the_first_line_names_the_metric_with_its_unit(metric: Metric, values: tuple[float, ...], said: str) -> None:
    models = [replace(model, accuracy=value) for model, value in zip((TEACHER, FP32, INT8), values, strict=True)]
    assert verdict(*models, metric=metric).sentence.endswith(f"4.00× smaller, and {said} the teacher).")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"accuracy": 0.92}, "4.00× smaller, and gains 2.00 points of accuracy, to 92.00 % (3.00 points below the teacher)"),
        ({"accuracy": 0.95}, "(0.00 points below the teacher)"),
        ({"accuracy": 0.96}, "(1.00 points above the teacher)"),
        ({"size_bytes": 0, "accuracy": None}, "int8 is 2.00× as fast as fp32"),
        ({"size_bytes": 0, "speedup": None}, "int8 loses 1.00 points of accuracy, to 89.00 % (6.00 points below the teacher)"),
    ],
)
def test_the_first_line_says_what_is_known(changes: dict[str, Any], said: str) -> None:
    assert verdict(TEACHER, FP32, replace(INT8, **changes)).sentence.endswith(f"{said}.")


def test_roles_and_not_places_tell_which_model_is_meant() -> None:
    other = ModelFigures("export-teacher", Role.OTHER, 0.95, 10, 0.1, Interval(80.0), "slower")
    assert verdict(INT8, other, FP32).sentence.startswith("int8 is 2.00× as fast as fp32")
    renamed = verdict(replace(FP32, name="float32"), replace(INT8, name="int4"))
    assert renamed.sentence.startswith("int4 is 2.00× as fast as float32")


@pytest.mark.parametrize(("decision", "state"), [("slower", "fail"), ("same", "pass"), ("undecided", "undecided")])
def test_slower_than_the_baseline_is_a_failure(decision: str, state: str) -> None:
    found = verdict(FP32, replace(INT8, decision=decision, speedup=Interval(0.8, 0.7, 0.9)), budgets=[MET])
    assert found.state == state
    assert found.findings[0].state == state
    assert "int8" in found.findings[0].text


def test_what_is_worse_may_be_allowed_and_is_still_said() -> None:
    found = verdict(FP32, replace(INT8, decision="slower", speedup=Interval(0.8)), allow_worse=True)
    assert found.state == "pass"
    said = "int8 is slower than fp32 on the target, 0.800× its speed: 4.00 ms against 8.00 ms (p50), which the recipe allows."
    assert found.sentence == said


def test_a_file_or_a_pruned_model_that_is_not_smaller_fails() -> None:
    assert verdict(FP32, replace(INT8, size_bytes=400_000)).state == "fail"
    found = verdict(shrinkage=Shrinkage(2_000_000, 1_000_000, 500, 500))
    assert [finding.text for finding in found.findings if finding.state == "fail"] == [
        "the pruned model has no fewer parameters: 500 after 500"
    ]


@pytest.mark.parametrize("state", ["pass", "fail", "undecided"])
def test_a_budget_fails_a_run(state: Any) -> None:
    found = verdict(budgets=[replace(MET, verdict=state)])
    said = {"pass": "met", "fail": "missed", "undecided": "undecided"}[state]
    text = f"budget p95_ms<=5 for int8 is {said}: between 4.4 and 4.6 ms"
    assert found.state == state
    assert [(finding.text, finding.asked) for finding in found.findings if "budget" in finding.text] == [(text, True)]


def test_a_budget_that_names_its_variant_does_not_name_it_twice() -> None:
    found = verdict(budgets=[replace(MET, expression="int8: p95_ms<=5")])
    assert any(finding.text.startswith("budget int8: p95_ms<=5 is met") for finding in found.findings)


def test_accuracy_is_judged_for_quantization_and_for_the_whole_run() -> None:
    kept, lost = Answer("pass", "int8 loses nothing"), Answer("fail", "int8 loses 40.00 points against the teacher")
    found = verdict(quantized_accuracy=kept, whole_accuracy=lost)
    assert (found.state, found.sentence) == ("fail", f"{lost.reason}.")
    assert verdict(quantized_accuracy=kept).state == "pass"


def test_parity_and_the_bundle_are_questions_too() -> None:
    found = verdict(parities={"export": ExportParity(False, 0.5, 1e-4)}, bundle_verified=False)
    assert {finding.stage for finding in found.findings if finding.state == "fail"} == {"export", "bundle"}
    assert found.sentence.endswith("(and 1 more below).")


def test_without_measurements_or_questions_nothing_is_claimed() -> None:
    assert judge(Evidence(measured=False, models=[FP32]), allow_worse=False).state == "undecided"
    alone = judge(Evidence(measured=True, models=[ModelFigures("a", Role.OTHER, p50_ms=2.0)]), allow_worse=False)
    assert (alone.state, alone.findings) == ("undecided", ())
    assert alone.sentence.endswith("measured (p50): a 2.00 ms.")


@pytest.mark.parametrize(("rate", "state"), [(80.0, "fail"), (95.0, "pass"), (200.0, "pass")])
def test_a_quantized_language_model_decodes_no_slower(rate: float, state: str) -> None:
    plain, low = ModelFigures("fp32", Role.BASELINE), ModelFigures("int4", Role.QUANTIZED)
    found = verdict(plain, low, rates={"fp32": 100.0, "int4": rate})
    (finding,) = (finding for finding in found.findings if finding.stage == "generation")
    said = "decodes slower" if state == "fail" else "decodes no slower"
    assert (finding.state, finding.text) == (state, f"int4 {said} than fp32: {rate:.1f} against 100.0 tokens per second")
    assert verdict(plain, low, rates={"fp32": 100.0, "int4": rate}, allow_worse=True).state == "pass"


def test_words_of_a_budget_do_not_pass_for_what_the_recipe_allows() -> None:
    judged = Judgement("the recipe allows: p95_ms<=9", "the recipe allows", "pass", 8.0, "8 ms")
    found = verdict(FP32, INT8, budgets=[judged])
    assert found.state == "pass" and "allows" not in found.sentence
