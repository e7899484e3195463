"""The least time in which a device can compute and move."""

from __future__ import annotations

import pytest

from edgeopt.profile.peak import Bandwidth, Peak


def test_the_bound_is_the_slower_of_arithmetic_and_bytes() -> None:
    peak = Peak({"fp32": 100e9, "int8": 400e9}, [Bandwidth(1000, 10e9), Bandwidth(10_000, 1e9)])
    assert peak.bound_s(500_000, 0, "fp32") == pytest.approx(1e-5)
    assert peak.bound_s(500_000, 0, "int8") == pytest.approx(2.5e-6)
    assert peak.bound_s(0, 1000, None) == pytest.approx(1e-7)
    assert peak.bound_s(0, 50_000, None) == pytest.approx(5e-5)
