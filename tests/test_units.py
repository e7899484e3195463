import pytest

from edgeopt import units
from edgeopt.interval import Interval


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0123456, "0.0123"),
        (0.1, "0.100"),
        (0.9999, "1.00"),
        (1.234, "1.23"),
        (9.999, "10.0"),
        (12.34, "12.3"),
        (99.99, "100"),
        (1234.5, "1,234"),
        (-2.5, "-2.50"),
        (1.5e-7, "1.50e-07"),
    ],
)
def test_three_significant_figures(value, text):
    assert units.figures(value) == text


def test_sizes_counts_and_times_carry_their_unit():
    assert [units.size(value) for value in (None, 0, 999, 84_300, 1_234_567, 2.5e9)] == [
        "–", "0 B", "999 B", "84.3 kB", "1.23 MB", "2.50 GB",
    ]  # fmt: skip
    assert [units.count(value) for value in (None, 12, 64_000, 1_340_000)] == ["–", "12", "64.0 k", "1.34 M"]
    assert [units.milliseconds(value) for value in (None, 0.0612, 12.34, 12_340)] == ["–", "0.0612 ms", "12.3 ms", "12.3 s"]
    assert [units.seconds(value) for value in (0.44, 59.94, 75)] == ["0.4 s", "59.9 s", "1 min 15 s"]
    assert units.percent(0.98765) == "98.8 %"
    assert units.points(-0.00278) == "−0.28 points"


def test_intervals_share_their_figure_s_unit():
    assert units.milliseconds_interval(Interval(12_340, 12_000, 13_000, 0.95)) == "12.3 s [12.0, 13.0]"
    assert units.milliseconds_interval(Interval(0.0612)) == "0.0612 ms"
    assert units.percent_interval(Interval(0.9833, 0.969, 0.989)) == "98.3 % [96.9, 98.9]"
    assert units.times_interval(Interval(2.386, 2.35, 2.42)) == "2.39× [2.35, 2.42]"
    assert units.times_interval(None) == "–"


def test_durations_are_read_with_each_unit() -> None:
    read = [units.read_seconds(text) for text in ("90", "90s", "5m", "10min", "1.5h", " .5 m ")]
    assert read == [90.0, 90.0, 300.0, 600.0, 5400.0, 30.0]
    for wrong in ("soon", "0m", "-5s", "1e3", "inf", "5 d", ""):
        with pytest.raises(ValueError, match="write a number and s, m or h, such as 20m"):
            units.read_seconds(wrong)
