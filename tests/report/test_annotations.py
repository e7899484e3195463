"""JUnit XML and annotations."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from edgeopt.profile.became_worse import Change, Regressions
from edgeopt.report.annotations import github_annotations
from edgeopt.report.checks import Check, checks_of_regressions
from edgeopt.report.junit import junit

_CHECKS = [
    Check("edgeopt profile t", "int8: p95_ms<=20 @99%", "fail", "between 21 and 23 ms\nn = 100"),
    Check("edgeopt profile t", 'evil<"&>: size_mb<=1', "pass", "it is 0.5"),
    Check("edgeopt profile t", "int8: load_ms<=9", "undecided", "2 of 3, 50% meet it"),
]


def test_junit_counts_and_escapes() -> None:
    [suite] = ET.fromstring(junit(_CHECKS))
    assert {key: suite.get(key) for key in ("name", "tests", "failures", "skipped")} == {
        "name": "edgeopt profile t",
        "tests": "3",
        "failures": "1",
        "skipped": "1",
    }
    failed, passed, skipped = suite
    assert failed.find("failure") is not None and len(passed) == 0 and skipped.find("skipped") is not None
    assert passed.get("name") == 'evil<"&>: size_mb<=1'


def test_annotations_are_one_line_each_and_escaped() -> None:
    assert github_annotations(_CHECKS) == [
        "::error title=edgeopt profile t%3A int8%3A p95_ms<=20 @99%25::between 21 and 23 ms%0An = 100",
        "::warning title=edgeopt profile t%3A int8%3A load_ms<=9::2 of 3, 50%25 meet it",
    ]


def test_regressions_are_checks() -> None:
    change = Change("int8", "p50_ms", 5.0, 6.0, "regression", "4.9 to 5.1 ms then, 5.9 to 6.1 ms now")
    [check] = checks_of_regressions(Regressions(0.05, [change], [], "fail"))
    assert (check.name, check.verdict) == ("int8: p50_ms", "fail")
