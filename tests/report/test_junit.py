import xml.etree.ElementTree as ET

from edgeopt.report import build_report, to_junit


def suite_of(facts, make_record, **changes):
    return ET.fromstring(to_junit(build_report(make_record(facts, **changes)))).find("testsuite")


def test_each_question_is_a_case_and_failures_are_counted(facts, make_record):
    facts["profile"]["budgets"][0]["verdict"] = "undecided"
    facts["bundle"]["verified"] = False
    suite = suite_of(facts, make_record)
    assert {key: suite.get(key) for key in ("name", "tests", "failures", "skipped")} == {
        "name": "quickstart on x86-vnni", "tests": "10", "failures": "1", "skipped": "1",
    }  # fmt: skip
    assert [case.get("classname") for case in suite if case.find("failure") is not None] == ["quickstart.bundle"]
    (skipped,) = (case.find("skipped") for case in suite if case.find("skipped") is not None)
    assert "budget p95_ms<=1.0 for int8 is undecided" in skipped.get("message")


def test_hostile_names_and_control_characters_leave_it_well_formed(facts, make_record):
    evil = "]]></failure><x a=\"'&\x00\x1b\ud800\n"
    facts["verify"] |= {"verdict": "fail", "reason": evil}
    suite = suite_of(facts, make_record, name=evil)
    assert suite.find("testcase/failure").text.startswith("]]></failure><x a=\"'&")
    assert [element.tag for element in suite.iter()].count("x") == 0
