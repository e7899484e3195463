import pytest

from edgeopt.errors import DataError
from edgeopt.report import build_report
from edgeopt.report.table import latency

PARITY = {"max_abs_error": 2.0, "relative_error": 0.25, "tolerance": 1e-4, "samples": 16, "shapes": []}


def verdict(facts, make_record, **changes):
    return build_report(make_record(facts, **changes)).verdict


def test_a_good_run_passes_and_says_what_was_gained(facts, make_record):
    found = verdict(facts, make_record)
    assert found.state == "pass"
    gains = "int8 is 2.39× as fast as fp32 and 3.19× smaller, and loses 0.28 points of accuracy, to 98.33 %"
    assert found.sentence == f"{gains} (0.84 points below the teacher)."
    assert {finding.state for finding in found.findings} == {"pass"}


def test_a_slower_int8_model_fails_in_the_first_line_though_every_budget_is_met(facts, make_record):
    facts["profile"]["comparisons"][0] |= {"ratio": 1.25, "low": 1.2, "high": 1.3, "decision": "slower"}
    found = verdict(facts, make_record)
    assert found.state == "fail"
    assert found.sentence.startswith("int8 is slower than fp32 on the target, 0.800× its speed")


@pytest.mark.parametrize(("decision", "state"), [("slower", "fail"), ("faster", "pass"), ("undecided", "undecided")])
def test_the_decision_on_the_speed_is_what_counts(facts, make_record, decision, state):
    facts["profile"]["comparisons"][0] |= {"ratio": 1.0, "low": 0.9, "high": 1.1, "decision": decision}
    assert verdict(facts, make_record).state == state


def test_a_student_far_below_its_teacher_fails_the_run(facts, make_record):
    said = "int8 loses 40.00 points of accuracy against the teacher (5 allowed)"
    facts["verify"] |= {"whole_verdict": "fail", "whole_reason": said}
    found = verdict(facts, make_record)
    assert (found.state, found.sentence) == ("fail", f"{said}.")


def test_the_same_speed_is_not_worse(facts, make_record):
    facts["profile"]["comparisons"][0] |= {"ratio": 1.0, "low": 0.99, "high": 1.01, "decision": "same"}
    assert verdict(facts, make_record).state == "pass"


def test_a_pruned_model_that_is_not_smaller_fails(facts, make_record):
    facts["prune"]["after"]["macs"] = facts["prune"]["before"]["macs"]
    found = verdict(facts, make_record)
    assert found.state == "fail"
    assert found.sentence == "The pruned model has no fewer MACs: 2.70 M after 2.70 M."


def test_an_int8_file_that_is_not_smaller_fails(facts, make_record):
    facts["verify"]["variants"][-1]["size_bytes"] = 300_000
    assert verdict(facts, make_record).sentence == "int8 is not smaller than fp32: 300 kB against 268 kB."


def test_the_recipe_may_allow_what_is_worse_and_the_first_line_still_says_it(facts, make_record):
    facts["profile"]["comparisons"][0] |= {"ratio": 1.25, "low": 1.2, "high": 1.3, "decision": "slower"}
    found = verdict(facts, make_record, recipe={"allow_worse": True})
    assert found.state == "pass"
    assert found.sentence.startswith("int8 is slower than fp32")
    assert found.sentence.endswith("which the recipe allows.")


@pytest.mark.parametrize(("verdicts", "state"), [(["pass", "undecided"], "undecided"), (["undecided", "fail"], "fail")])
def test_the_gravest_budget_decides(facts, make_record, verdicts, state):
    for budget, value in zip(facts["profile"]["budgets"], verdicts, strict=True):
        budget["verdict"] = value
    found = verdict(facts, make_record)
    assert found.state == state
    assert found.findings[0].state == state


def test_several_failures_are_counted(facts, make_record):
    facts["profile"]["budgets"][0]["verdict"] = "fail"
    facts["bundle"]["verified"] = False
    assert "(and 1 more below)" in verdict(facts, make_record).sentence


@pytest.mark.parametrize(
    ("stage", "change", "text"),
    [
        ("verify", {"verdict": "fail", "reason": "int8 loses 3 points of accuracy"}, "int8 loses 3 points of accuracy."),
        (
            "export",
            {"parity": {**PARITY, "passed": False}},
            "ONNX does not give PyTorch's outputs (largest error 0.25, 0.0001 allowed).",
        ),
        ("bundle", {"verified": False}, "The bundle does not verify itself."),
    ],
)
def test_a_failed_check_of_any_stage_fails_the_run(facts, make_record, stage, change, text):
    facts[stage] |= change
    found = verdict(facts, make_record)
    assert (found.state, found.sentence) == ("fail", text)


def test_nothing_measured_is_undecided(facts, make_record):
    found = verdict({"teacher": facts["teacher"], "export": facts["export"]}, make_record)
    assert found.state == "undecided"
    assert found.sentence.startswith("Nothing was measured")


def test_an_unknown_verdict_is_named(facts, make_record):
    facts["profile"]["budgets"][0]["verdict"] = "maybe"
    with pytest.raises(DataError, match=r"profile\.budgets\[0\]: 'verdict' is 'maybe'; pass, fail or undecided"):
        verdict(facts, make_record)


def test_no_ratio_is_said_as_that(facts, make_record):
    facts["profile"]["comparisons"][0] |= {"ratio": None, "low": None, "high": None, "decision": "undecided"}
    [found] = [item for item in verdict(facts, make_record).findings if "slower" in item.text]
    assert found.state == "undecided"
    assert found.text.startswith("too few runs to say whether int8 is slower than fp32: ") and "–" not in found.text
    assert "its speed" not in found.text


def test_times_of_a_busy_machine_are_marked_and_an_emulators_are_not_there(facts, make_record):
    facts["profile"]["conditions"] = {
        "wall_s": 1.0,
        "others_cores": 1.5,
        "steal_share": 0.0,
        "involuntary_switches_per_s": 100.0,
        "quiet_chunks": 0,
        "chunks": 4,
        "frequency_mhz": None,
        "temperature_c": None,
        "throttle_events": None,
        "energy_j": None,
        "busy": True,
    }
    report = build_report(make_record(facts))
    assert latency(report.variant("int8"), "p50").endswith(" (busy)")
    facts["profile"] |= {"emulated": True}
    report = build_report(make_record(facts))
    assert latency(report.variant("int8"), "p50") == "not measured (emulator)"
