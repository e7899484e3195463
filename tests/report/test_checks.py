"""Checks for continuous integration: from a run, a profile and a comparison."""

from types import SimpleNamespace

import pytest

from edgeopt.report.checks import checks_of_profile, checks_of_regressions, checks_of_report


def test_findings_of_a_run_are_checks_of_its_stages(report):
    checks = checks_of_report(report)
    assert [check.verdict for check in checks] == [finding.state for finding in report.verdict.findings]
    assert {check.suite for check in checks} == {"quickstart on x86-vnni"}
    assert all(check.group.startswith("quickstart.") and check.message == check.name for check in checks)


def test_budgets_of_a_profile_are_checks_with_their_reason():
    budget = SimpleNamespace(variant="int8", expression="p95 < 1 ms", verdict="fail", reason="1.2 ms")
    [check] = checks_of_profile(SimpleNamespace(target="arm64", budgets=[budget]))
    assert (check.suite, check.name) == ("edgeopt profile arm64", "int8: p95 < 1 ms")
    assert (check.verdict, check.message) == ("fail", "1.2 ms")


@pytest.mark.parametrize(
    ("finding", "verdict"),
    [("regression", "fail"), ("undecided", "undecided"), ("same", "pass"), ("improvement", "pass")],
)
def test_a_regression_fails_and_an_improvement_passes(finding, verdict):
    change = SimpleNamespace(variant="fp32", metric="p50", finding=finding, reason="why")
    [check] = checks_of_regressions(SimpleNamespace(changes=[change]))
    assert (check.name, check.verdict) == ("fp32: p50", verdict)
