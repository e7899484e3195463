import numpy as np

from edgeopt.quantize.calibrate.rows import RowSample


def test_rows_are_spread_evenly_and_bounded():
    sample = RowSample(limit=10)
    everything = np.arange(1000, dtype=np.float32).reshape(500, 2)
    for start in range(0, 500, 7):
        sample.add(everything[start : start + 7].reshape(1, -1, 2))
    kept = sample.rows[:, 0] / 2
    assert 5 <= len(kept) <= 10
    np.testing.assert_array_equal(np.diff(kept), sample.step)
    assert kept[0] == 0
    assert kept[-1] >= 500 - sample.step


def test_few_rows_are_all_kept():
    sample = RowSample(limit=10)
    sample.add(np.eye(4, dtype=np.float32))
    np.testing.assert_array_equal(sample.rows, np.eye(4))


def test_merged_samples_are_bounded_and_come_from_both_parts():
    first, second = RowSample(limit=8), RowSample(limit=8)
    first.add(np.zeros((100, 1), dtype=np.float32))
    second.add(np.ones((30, 1), dtype=np.float32))
    first.merge(second)
    assert first.seen == 130
    assert 4 <= len(first.rows) <= 8
    assert 0.05 < first.rows.mean() < 0.5  # 30 of 130 rows are ones
