import itertools

import pytest

from edgeopt.errors import DataError
from edgeopt.report import build_report, terminal_summary, to_html, to_markdown


def test_each_form_of_the_model_carries_what_every_stage_knows_of_it(facts, make_record):
    report = build_report(make_record(facts))
    assert [variant.name for variant in report.variants] == ["teacher", "distill", "prune", "fp32", "int8"]
    int8 = report.variant("int8")
    assert (int8.accuracy.value, int8.size_bytes, int8.macs) == (0.9833, 84_300, 1_340_000)
    assert int8.speed.latency_ms["p50"].value == 0.0612
    assert int8.speed.speedup.value == pytest.approx(1 / 0.419)
    assert int8.speed.speedup.low == pytest.approx(1 / 0.425)
    assert int8.speed.withheld == {"p99.9": 6636}
    assert report.variant("prune").speed is None
    assert report.int8_macs_share == 0.993
    assert [island.node for island in report.islands] == ["/head/pool"]
    assert len(report.layers) == 24
    assert len(report.epochs) == 6 + 12 + 8


def test_warnings_of_pipeline_and_stage_are_both_kept_once(facts, make_record):
    record = make_record(facts)
    stage = next(stage for stage in record.stages if stage.stage == "quantize")
    object.__setattr__(stage, "warnings", ("artifact made again", facts["quantize"]["warnings"][0]))
    warnings = [warning.text for warning in build_report(record).warnings if warning.stage == "quantize"]
    assert warnings == ["artifact made again", facts["quantize"]["warnings"][0]]


def test_what_verify_left_out_is_among_the_warnings(facts, make_record):
    said = "int8: output 'boxes' has another shape than the other model's for 2 of 8 samples"
    record = make_record(facts | {"verify": facts["verify"] | {"warnings": [said]}})
    assert said in [warning.text for warning in build_report(record).warnings if warning.stage == "verify"]


def test_any_subset_of_stages_renders_everywhere(facts, make_record):
    names = list(facts)
    subsets = [[], *([name] for name in names), *(itertools.combinations(names, len(names) - 1)), ["quantize", "profile"]]
    for subset in subsets:
        report = build_report(make_record({name: facts[name] for name in subset}))
        assert report.verdict.sentence in terminal_summary(report, width=400)
        assert to_markdown(report).startswith("# quickstart on x86-vnni: ")
        assert "<h1>" in to_html(report)


def test_a_missing_key_is_named_with_what_to_do(facts, make_record):
    for stage, values in facts.items():
        for key in values:
            fewer = {name: dict(other) for name, other in facts.items()}
            del fewer[stage][key]
            if key in {"warnings", "whole_verdict", "whole_reason"} and stage in {"profile", "verify"}:
                assert build_report(make_record(fewer)).name == "quickstart"
                continue
            with pytest.raises(DataError, match=rf"facts of {stage}: '{key}' is missing.*; run the recipe again"):
                build_report(make_record(fewer))


def test_extra_keys_are_ignored(facts, make_record):
    more = {name: {**values, "later": {"x": [1]}} for name, values in facts.items()}
    assert build_report(make_record(more)).variants == build_report(make_record(facts)).variants


def test_an_onnx_file_that_entered_late_has_sizes_and_speed(facts, make_record):
    report = build_report(make_record({name: facts[name] for name in ("quantize", "profile", "bundle")}))
    assert report.variant("int8").size_bytes == 84_300
    assert report.variant("int8").accuracy is None
    assert report.verdict.sentence == "int8 is 2.39× as fast as fp32 and 3.19× smaller."


@pytest.mark.parametrize(
    ("stage", "key", "value", "where"),
    [
        ("teacher", "parameters", "many", "facts of teacher: 'parameters' is 'many'"),
        ("teacher", "parameters", True, "facts of teacher: 'parameters' is True"),
        ("quantize", "samples", 1.5, "a whole number is expected"),
        ("quantize", "size_bytes_after", float("nan"), "a finite number is expected"),
        ("quantize", "warnings", "one", "'warnings' is 'one'; a list is expected"),
        ("profile", "variants", [3], r"'variants\[0\]' is 3; an object is expected"),
        ("verify", "reason", 3, "a text is expected"),
        ("bundle", "verified", "yes", "true or false is expected"),
    ],
)
def test_a_wrong_type_is_named_with_stage_and_key(facts, make_record, stage, key, value, where):  # noqa: PLR0917
    facts[stage][key] = value
    with pytest.raises(DataError, match=where):
        build_report(make_record(facts))
