"""The report as JSON reads back as it was written; anything else is refused in one line."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeopt.errors import DataError
from edgeopt.report import from_json, to_json
from tests.report.conftest import JSON


def test_json_reads_back_as_the_same_report(report):
    text = to_json(report)
    assert from_json(text) == report
    assert to_json(from_json(text)) == text
    assert json.loads(text)["schema_version"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values.pop("verdict"), "verdict: Field required"),
        (lambda values: values.update(schema_version=9), "schema version 9; this edgeopt reads 1"),
        (lambda values: values.update(variants=3), "variants"),
    ],
)
def test_json_that_is_no_report_is_refused_in_one_line(report, change, message):
    values = json.loads(to_json(report))
    change(values)
    with pytest.raises(DataError, match=message) as caught:
        from_json(json.dumps(values), where="old.json")
    assert str(caught.value).startswith("old.json: ")
    assert "\n" not in str(caught.value)


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=40) | JSON.map(json.dumps))
def test_any_text_that_is_no_report_is_refused_in_one_line(text):
    with pytest.raises(DataError) as caught:
        from_json(text)
    assert "\n" not in str(caught.value)
