"""What holds for all formats: safe against names from others, the same explanations, any facts."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeopt.errors import DataError
from edgeopt.report import RunRecord, build_report, from_json, terminal_summary, to_html, to_json, to_markdown
from tests.report.conftest import JSON, Page, own_part


def test_hostile_names_stay_text_in_markdown_and_on_the_terminal(evil):
    text = to_markdown(evil)
    assert "<script" not in text
    assert "<img" not in text
    assert not re.search(r"(?<!\\)\[y\]\(", text)
    assert "\x1b" not in text
    assert "\x1b" not in terminal_summary(evil)
    assert "\n# x" not in text


def test_a_run_record_reads_back_and_names_what_is_wrong(facts, make_record):
    record = make_record(facts)
    again = RunRecord.from_json(record.to_json())
    assert again.to_json() == record.to_json()
    with pytest.raises(DataError, match=r"run\.json: not a run record: stages\.0\.status"):
        RunRecord.from_json(record.to_json().replace('"status": "cached"', '"status": "maybe"'), where="run.json")


def test_rows_that_are_one_model_in_two_forms_are_explained(report):
    said = "fp32 is prune exported to ONNX; latencies of teacher and distill are also those of their exports."
    assert all(said in " ".join(text.split()) for text in (to_html(report), to_markdown(report), terminal_summary(report)))


def test_building_and_reading_a_report_loads_no_heavy_library():
    import subprocess
    import sys

    code = (
        "import sys; from edgeopt.report import RunRecord, build_report, to_html, terminal_summary;"
        "r = build_report(RunRecord('a', {}, 't', ())); to_html(r); terminal_summary(r);"
        "print(sorted({'torch', 'onnxruntime', 'onnx', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), junk=JSON)
def test_any_value_anywhere_in_the_facts_gives_a_report_or_names_the_key(facts, make_record, data, junk):
    holder, key = facts, data.draw(st.sampled_from(sorted(facts)))
    while isinstance(holder[key], dict | list) and holder[key] and data.draw(st.booleans()):
        holder = holder[key]
        key = data.draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
    before, holder[key] = holder[key], junk
    try:
        if holder is facts and not isinstance(junk, dict):
            return
        report = build_report(make_record(facts))
        assert from_json(to_json(report)).name == report.name
        assert Page(own_part(to_html(report))).handlers == []
    except DataError as error:
        assert str(error).startswith("facts of ")
    finally:
        holder[key] = before
