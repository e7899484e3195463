from __future__ import annotations

from edgeopt.prune.allocation.forecast import Forecast


def test_the_form_that_is_deployed_comes_last() -> None:
    assert Forecast(base_ms={"fp32": 2.0, "int8": 1.0}).precisions == ("fp32", "int8")
    assert Forecast(reason="no transformer").precisions == ()
