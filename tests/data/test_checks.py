"""What is wrong with samples is said of the very sample."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.data.checks import check_sample, check_samples, digests, is_additive_mask, raise_errors, warnings_of
from edgeopt.data.samples import Samples, from_arrays
from edgeopt.errors import DataError

GOOD = np.random.default_rng(0).uniform(-1, 1, (6, 3, 4)).astype(np.float32)
RANGE = {"x": (-1.0, 1.0)}


def changed(index: int, value: object) -> Samples:
    values = GOOD.copy()
    values[index] = value
    return from_arrays({"x": values})


def test_good_samples_have_no_findings() -> None:
    assert check_samples(from_arrays({"x": GOOD}), ranges=RANGE) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_errors(value: float) -> None:
    samples = changed(4, GOOD[4])
    samples[4]["x"][1, 2] = value
    with pytest.raises(DataError, match=r"sample 4, input 'x': holds (nan|inf) at index \[1, 2\]"):
        raise_errors(check_samples(samples))


def test_values_out_of_range_are_errors_where_the_range_is_known() -> None:
    samples = changed(2, np.arange(12).reshape(3, 4) * 23.0)
    with pytest.raises(DataError, match=r"sample 2, input 'x': values reach from 0 to 253.*−?-1 to 1 \(0–255 where"):
        raise_errors(check_samples(samples, ranges=RANGE))
    findings = check_samples(samples)
    assert [(item.severity, item.what, item.sample) for item in findings] == [("warning", "range", 2)]
    overshoot = changed(1, GOOD[1] * 1.0005)
    assert check_samples(overshoot, ranges={"x": (float(GOOD.min()), float(GOOD.max()))}) == []


def test_constant_duplicate_and_leaked_samples_are_warnings() -> None:
    values = GOOD.copy()
    values[1] = 0.5
    values[3] = values[0]
    samples = from_arrays({"x": values})
    findings = check_samples(samples, ranges=RANGE, evaluated=digests(from_arrays({"x": GOOD[5:]})))
    assert [(item.what, item.sample) for item in findings] == [("constant", 1), ("duplicate", 3), ("leak", 5)]
    assert "sample 3 equals sample 0" in findings[1].message
    raise_errors(findings)


def test_many_of_one_kind_are_one_line() -> None:
    findings = check_samples(from_arrays({"x": np.zeros((20, 3), np.float32)}))
    lines = warnings_of(findings)
    assert len(lines) == 2
    assert lines[0].startswith("calibration sample 0, input 'x': all 3 values are 0")
    assert "(and 19 more: 1, 2, 3, 4, 5, 6, 7, 8, …)" in lines[0]


def test_integers_have_no_range() -> None:
    assert check_samples(from_arrays({"ids": np.arange(500).reshape(50, 10)}), ranges={"ids": (0, 1)}) == []


@pytest.mark.parametrize(
    ("values", "is_mask"),
    [
        ([0, -np.inf, 0], True),
        ([0, 0, 0], False),
        ([-np.inf, -np.inf], False),  # nothing counts
        ([0, np.inf], False),
        ([0, -np.inf, 0.5], False),
        ([0, -np.inf, np.nan], False),
    ],
)
def test_a_mask_of_zeros_and_minus_infinity_is_no_damage(values: list[float], is_mask: bool) -> None:
    mask = np.array(values, np.float32)
    assert is_additive_mask(mask) == is_mask
    finding = [item.what for item in check_sample({"mask": mask}, 0, {})]
    assert ("not finite" in finding) == (not is_mask and not np.isfinite(mask).all())
