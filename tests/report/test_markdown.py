"""The report as Markdown."""

from edgeopt.report import to_markdown


def test_markdown_is_a_document_with_tables(report):
    text = to_markdown(report)
    assert text.startswith("# quickstart on x86-vnni: ✅ pass\n\n**int8 is 2.39× as fast")
    row = next(line for line in text.splitlines() if line.startswith("| int8 "))
    assert row.count(" | ") == 10
    assert r"98.3 % \[96.9, 98.9\]" in row
