"""Progress on stderr: bars on a terminal, lines at intervals elsewhere, nothing with --quiet."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from edgeopt import progress
from edgeopt.cli import progress_bars
from edgeopt.cli.progress_bars import Bars, Lines, remaining, shown


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that moves by hand: its last entry is the time."""
    times = [0.0]
    monkeypatch.setattr(progress_bars.time, "monotonic", lambda: times[-1])
    return times


def test_lines_come_at_intervals(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Lines().task("calibrate", 2000) as advance:
        advance(600)
        clock.append(11.0)
        advance(600)
        advance(600)
    assert (
        capsys.readouterr().err == "  calibrate: 1,200 of 2,000, 15 s left\n"
    )  # 600 in 11 s; the first 600 may be of an earlier run


def test_without_a_total_the_count_alone_is_shown(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Lines().task("timed runs", None) as advance:
        clock.append(11.0)
        advance()
    assert capsys.readouterr().err == "  timed runs: 1\n"


def test_bars_show_notes_above_and_no_markup() -> None:
    text = StringIO()
    bars = Bars(Console(file=text, force_terminal=True, width=80))
    with bars.task("quantize", 2) as advance:
        bars.note("[red]a note[/red] \x1b[31m")
        advance()
    assert "[red]a note[/red]" in text.getvalue() and "\x1b[31m" not in text.getvalue()


def test_the_bar_of_an_outer_task_stays_when_an_inner_one_ends() -> None:
    bars = Bars(Console(file=StringIO(), force_terminal=True, width=80))
    with bars.task("stages", 2) as outer:
        with bars.task("quantize", 2):
            pass
        outer()
        assert bars._progress.live.is_started and [task.description for task in bars._progress.tasks] == ["stages"]
    assert not bars._progress.live.is_started


@pytest.mark.parametrize(("quiet", "text"), [(True, ""), (False, "a note\n")])
def test_quiet_shows_nothing(quiet: bool, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with shown(quiet=quiet):
        progress.note("a note")
    assert capsys.readouterr().err == text


@pytest.mark.parametrize(
    ("measured", "done", "total", "text"),
    [(10, 10, 20, ", 5 s left"), (10, 10, 1010, ", 8 min left"), (0, 5, 20, ""), (10, 20, 20, ""), (10, 10, None, "")],
)
def test_the_time_left_is_judged_by_what_was_measured(measured: int, done: int, total: int | None, text: str) -> None:
    assert remaining(measured, done, total, seconds=5.0) == text
