"""Which operators are worth a change: by what they could save, and what limits them."""

import pytest

from edgeopt.report import build_report
from edgeopt.report.limits import principal, worth_rows

ROOF = {
    "operations_per_s": {"fp32": 1e11, "int8": 4e11},
    "bandwidth": [{"working_set_bytes": 10**9, "bytes_per_s": 1e10}],
}


@pytest.fixture
def planted(facts):
    one = facts["profile"]["variants"][1]["operators"][0]
    facts["profile"]["peak"] = ROOF
    facts["profile"]["variants"][1]["operators"] = [
        {**one, "name": "near", "ms": 1.0, "share": 0.2, "macs": 10**8, "bytes": 10**6, "kind": "int8", "bound_ms": 0.9},
        {**one, "name": "far", "ms": 3.0, "share": 0.6, "macs": 10**6, "bytes": 10**6, "kind": "int8", "bound_ms": 0.1},
        {**one, "name": "moves", "ms": 1.0, "share": 0.2, "macs": 0, "bytes": 10**6, "kind": None, "bound_ms": 0.1},
        {**one, "name": "unknown", "ms": 9.0, "share": 0.0, "macs": 0, "bytes": 0, "kind": None, "bound_ms": None},
    ]
    return facts


def test_the_largest_saving_is_first_and_names_its_limit(planted, make_record):
    rows = worth_rows(build_report(make_record(planted)))
    assert [(row[1].split(" ")[0], row[5], row[7]) for row in rows] == [
        ("far", "2.90 ms", "memory"),
        ("moves", "0.900 ms", "memory"),
        ("near", "0.100 ms", "arithmetic"),
    ]


def test_the_insides_shown_are_those_of_baseline_and_quantized(facts, make_record):
    assert [variant.name for variant in principal(build_report(make_record(facts)))] == ["fp32", "int8"]
    rows = facts["profile"]["variants"][:2]
    profile = {**facts["profile"], "variants": [{**row, "name": f"own-{row['name']}"} for row in rows]}
    alone = build_report(make_record({"profile": {**profile, "comparisons": [], "budgets": []}}))
    assert [variant.name for variant in principal(alone)] == ["own-fp32", "own-int8"]
