from __future__ import annotations

import pytest

from edgeopt.cli.tables import show


@pytest.mark.parametrize("form", ["markdown", "table"])
def test_a_cell_stands_below_its_name_where_rows_have_different_ones(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    show([{"model": "a", "size": "1"}, {"model": "b", "KL": "2", "size": "3"}], form)
    lines = [line.replace("|", " ").split() for line in capsys.readouterr().out.splitlines() if "---" not in line]
    assert lines == [["model", "size", "KL"], ["a", "1", "–"], ["b", "3", "2"]]
