from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from edgeopt.prune.allocation.forecast import Forecast, PartForecast, Version
from edgeopt.search.budgets import read_budgets
from edgeopt.search.knobs import OFF, Knob
from edgeopt.search.proposals import EXCLUDE, PROPOSAL, UNITS, Proposal, propose, spread, with_proposals


def _part(weight: float, *, int8_error: float = 0.0, ms: float = 1.0) -> PartForecast:
    versions = tuple(
        Version(units, weight * (1 - units / 4), {"fp32": ms * units / 2, "int8": ms * units / 4}) for units in range(5)
    )
    return PartForecast(versions, 100.0, int8_error, (f"product-{weight}",))


def _known(*, ms: float = 1.0, int8_error: float = 0.0) -> Forecast:
    parts = {"light": _part(0.1, ms=ms), "heavy": _part(5.0, ms=ms, int8_error=int8_error)}
    return Forecast(parts, {"fp32": 0.5, "int8": 0.25}, {"fp32": 4.5, "int8": 2.25}, 2000.0)


def _units(proposal: Proposal) -> dict[str, int]:
    units = proposal.setting[UNITS]
    return {} if units == OFF else units


def test_what_matters_least_goes_first_and_figures_are_the_sums() -> None:
    found = propose({"here": _known()}, [], count=4)
    for one in found:
        units = _units(one)
        left = units.get("light", 4) + units.get("heavy", 4)
        fits_fp32 = one.setting[EXCLUDE] != []
        if not fits_fp32:
            assert one.figures["p50_ms"] == pytest.approx(0.25 + left / 4)
            assert one.figures["size_bytes"] == pytest.approx(1200 + 100 * left)
        assert one.error == pytest.approx(0.1 * (1 - units.get("light", 4) / 4) + 5.0 * (1 - units.get("heavy", 4) / 4))
        assert units.get("light", 4) == 0 or units.get("heavy", 4) == 4  # the heavy part is cut last
    times = [one.figures["p50_ms"] for one in found]
    assert times == sorted(times, reverse=True) and len({str(one.setting) for one in found}) == len(found) > 4


def test_budgets_on_time_and_size_hold_at_once() -> None:
    for one in propose({"here": _known()}, read_budgets(["p95_ms<=1.5", "size_kb<=1.7"]), count=4):
        assert one.figures["p50_ms"] <= 1.5 and one.figures["size_bytes"] <= 1700


def test_a_part_that_int8_hurts_stays_in_floating_point_where_the_time_allows_it() -> None:
    slowest = propose({"here": _known(int8_error=9.0)}, read_budgets(["p50_ms<=4"]), count=4)[0]
    assert slowest.setting[EXCLUDE] == ["product-5.0"] and slowest.error == pytest.approx(0.0)
    whole = propose({"here": _known()}, read_budgets(["p50_ms<=2.3"]), count=4)[0]
    assert whole.setting == {UNITS: OFF, EXCLUDE: []}  # nothing is pruned, so there is nothing to recover from


def test_nodes_that_the_recipe_keeps_in_floating_point_stay_there() -> None:
    assert all("stem" in one.setting[EXCLUDE] for one in propose({"here": _known()}, [], count=3, exclude=["stem"]))


def test_targets_with_other_steps_are_interpolated() -> None:
    coarse = _known()
    few = {
        name: PartForecast(part.versions[::4], part.parameters_per_unit, nodes=part.nodes)
        for name, part in coarse.parts.items()
    }
    other = Forecast(few, coarse.base_ms, coarse.whole_ms, coarse.whole_bytes)
    found = propose({"fine": coarse, "coarse": other}, read_budgets(["p50_ms<=2"]), count=4)
    assert all(one.targets_ms["fine"] == pytest.approx(one.targets_ms["coarse"]) for one in found)


def test_one_model_for_several_targets_keeps_its_time_on_each() -> None:
    found = propose({"fast": _known(), "slow": _known(ms=3.0)}, read_budgets(["p50_ms<=2"]), count=4)
    for one in found:
        assert set(one.targets_ms) == {"fast", "slow"} and one.figures["p50_ms"] == max(one.targets_ms.values()) <= 2


def test_budgets_out_of_reach_get_the_fastest_there_is() -> None:
    found = propose({"here": _known()}, read_budgets(["p50_ms<=0.01", "size_kb<=0.001"]), count=4)
    assert found and found[-1].setting[UNITS] == {"light": 0, "heavy": 0}


def test_choices_are_optimal_among_all_that_fit() -> None:
    generator = np.random.default_rng(0)
    parts = {
        f"part{place}": PartForecast(
            tuple(
                Version(units, float(error), {"fp32": float(ms)})
                for units, error, ms in zip(
                    range(4), [*sorted(generator.random(3))[::-1], 0.0], sorted(generator.random(4)), strict=True
                )
            ),
            10.0,
        )
        for place in range(3)
    }
    found = propose({"here": Forecast(parts, {"fp32": 0.1}, {"fp32": 1.0}, 500.0)}, read_budgets(["p50_ms<=1.2"]), count=6)
    for one in found:
        room = one.figures["p50_ms"] + 1e-9
        allowed = [
            sum(version.error for version in chosen)
            for chosen in product(*(part.versions for part in parts.values()))
            if 0.1 + sum(version.ms["fp32"] for version in chosen) <= room
        ]
        best = min(allowed)
        assert one.error == pytest.approx(best)


def test_proposals_take_the_place_of_knobs_about_the_student_pruning_and_precision() -> None:
    knobs = [
        Knob("prune.macs", (0.5, 0.7)),
        Knob("quantize.scheme", ("static", "dynamic")),
        Knob("distill.layers", ([1], [2])),  # a student of other layers has other parts than the proposals name
        Knob("bundle.latency", (False, True)),
    ]
    found = propose({"here": _known()}, [], count=3)
    first, other = with_proposals(knobs, found)
    assert first.key == PROPOSAL and first.labels[0] == "p00" and first.choices[0] == found[0].setting
    assert other.key == "bundle.latency" and with_proposals(knobs, []) == tuple(knobs)
    assert set(map(found.index, spread(found, 2))) == {0, len(found) - 1} and spread([], 3) == []
    assert list(map(found[:5].index, spread(found[:5], 5))) == [2, 3, 1, 4, 0]  # the middle first
