"""The files of a report."""

from edgeopt.errors import MachineError
from edgeopt.report import to_html, to_json, to_markdown, write_report


def test_writing_makes_three_files(report, tmp_path):
    page, data, text = write_report(report, tmp_path / "run")
    assert page.read_text(encoding="utf-8") == to_html(report)
    assert data.read_text(encoding="utf-8") == to_json(report)
    assert text.read_text(encoding="utf-8") == to_markdown(report)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["report.html", "report.json", "report.md"]


def test_without_its_extra_the_page_alone_is_left_out(report, tmp_path, monkeypatch):
    def absent(name, *, purpose):
        raise MachineError(f"{purpose} needs {name}")

    monkeypatch.setattr("edgeopt.report.write.need", absent)
    assert [path.name for path in write_report(report, tmp_path)] == ["report.json", "report.md"]
