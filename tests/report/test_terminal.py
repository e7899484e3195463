"""The report on the terminal."""

from edgeopt.report import terminal_summary


def test_the_terminal_gets_verdict_and_table_within_its_width(report):
    text = terminal_summary(report, width=120)
    assert text.startswith("PASS  int8 is 2.39× as fast")
    assert max(map(len, text.splitlines())) <= 120
    assert "\x1b[" in terminal_summary(report, colour=True)
    assert "\x1b" not in text


def test_without_a_width_no_line_is_broken(report):
    narrow, endless = terminal_summary(report, width=60), terminal_summary(report, width=None)
    assert len(endless.splitlines()) < len(narrow.splitlines())
    assert max(map(len, narrow.splitlines())) <= 60 < max(map(len, endless.splitlines()))
