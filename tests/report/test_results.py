"""The typed results of a run: each stage that is there, by what it is."""

from edgeopt.report.record import StageRecord
from edgeopt.report.results import Results


def records(facts):
    return [StageRecord(name, "k", "made", 1.0, values) for name, values in facts.items()]


def test_each_stage_is_found_by_its_type(facts):
    facts["export-teacher"] = facts["export"]
    found = Results.of(records(facts))
    assert found.quantize is found.stages["quantize"]
    assert found.verify.samples == 360
    assert list(found.exports) == ["export", "export-teacher"]
    assert {name: size.parameters for name, (size, _) in found.trained().items()} == {
        "teacher": 698_000, "distill": 128_000, "prune": 64_000,
    }  # fmt: skip
    assert [len(history) for _, history in found.trained().values()] == [6, 12, 8]


def test_any_stage_may_be_missing_and_an_unknown_one_is_passed_over(facts):
    found = Results.of([*records({"profile": facts["profile"]}), StageRecord("own-stage", "k", "made", 1.0, {"x": 1})])
    assert found.profile is not None
    assert (found.quantize, found.verify, found.trained()) == (None, None, {})
    assert list(found.stages) == ["profile"]
