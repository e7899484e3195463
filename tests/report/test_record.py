"""The record of a run: read back as it was, or refused with what is wrong."""

import json

import pytest

from edgeopt.errors import DataError, IntegrityError
from edgeopt.report import RunRecord, build_report


def test_a_record_reads_back_and_gives_the_same_report(facts, make_record):
    record = make_record(facts)
    again = RunRecord.from_json(record.to_json())
    assert build_report(again) == build_report(record)


def test_a_changed_record_is_noticed(facts, make_record):
    text = make_record(facts).to_json().replace('"seed": 0', '"seed": 1')
    with pytest.raises((DataError, IntegrityError), match=r"run\.json"):
        RunRecord.from_json(text, where="run.json")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"name": 3}'])
def test_what_is_no_record_is_refused_in_one_line(text):
    with pytest.raises((DataError, IntegrityError)) as caught:
        RunRecord.from_json(text, where="run.json")
    assert "run.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_of_another_version_says_to_run_again(facts, make_record):
    values = json.loads(json.dumps(facts))
    values["prune"] = {"macs_before": 2, "macs_after": 1, "layers": [], "history": []}  # as it was before results had types
    with pytest.raises(DataError, match=r"facts of prune: 'before' is missing.*run the recipe again"):
        build_report(make_record(values))
