"""What a reader is told before using the figures."""

from __future__ import annotations

import pytest

from edgeopt.profile.assembly import warnings_of
from edgeopt.profile.result import Comparison, MachineLoad

_QUIET = MachineLoad(
    wall_s=1.0,
    others_cores=0.0,
    steal_share=0.0,
    involuntary_switches_per_s=0.0,
    quiet_chunks=4,
    chunks=4,
    frequency_mhz=None,
    temperature_c=None,
    throttle_events=None,
    energy_j=None,
    busy=False,
)


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [(None, None, "too few runs to compare"), (0.31, 1.2, "0.310 to 1.200 of its time, not told from 1 ± 2%")],
)
def test_a_ratio_that_is_not_decided_is_not_called_close(low: float | None, high: float | None, says: str) -> None:
    """71.7 ms against 26.9 ms was "not told apart within 2 %"."""
    pair = Comparison("fp32", "int8", None if low is None else 0.4, low, high, 0.95, 3, "undecided")
    expected = f"int8 compared with fp32: {says} after 3 rounds; give it more seconds"
    assert warnings_of([], [pair], _QUIET, margin=0.02) == [expected]
