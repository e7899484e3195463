"""Dynamic programming against all combinations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgeopt.prune.allocation.dynamic import Option, choose


@pytest.mark.parametrize("seed", range(5))
def test_the_choice_is_the_best_of_all_that_fit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = {
        name: [Option(key, float(cost), float(error)) for key, (cost, error) in enumerate(rng.integers(1, 20, (4, 2)))]
        for name in "abc"
    }
    budget = 25.0
    fitting = [
        (sum(option.error for option in chosen), sum(option.cost for option in chosen))
        for chosen in itertools.product(*parts.values())
        if sum(option.cost for option in chosen) <= budget
    ]
    found = choose(parts, budget)
    if not fitting:
        assert found is None
        return
    assert found is not None
    error = sum(parts[name][key].error for name, key in found.items())
    assert sum(parts[name][key].cost for name, key in found.items()) <= budget
    assert error == min(fitting)[0]


def test_what_does_not_fit_is_none() -> None:
    assert choose({"a": [Option(0, 5.0, 0.0)]}, 4.0) is None
    assert choose({"a": [Option(0, 5.0, 0.0)]}, 5.0) == {"a": 0}
    assert choose({}, 1.0) == {}
