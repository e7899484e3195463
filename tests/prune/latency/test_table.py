"""The latency model: interpolation between widths, and a + b · Σt from whole models."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from edgeopt.prune.latency.table import LatencyModel, Measurer, random_counts
from edgeopt.prune.structure.parts import Kind, Part

_PARTS = [Part(name, Kind.NEURONS, 64, (), ()) for name in "ab"]
_GRID = {"a": [0, 16, 32, 48], "b": [0, 16, 32, 48]}


class _Machine(Measurer):
    """A machine on which a whole model takes 2 ms and 1.5 times its parts."""

    def __init__(self) -> None:
        self.parts = _PARTS

    def whole_ms(self, counts):  # type: ignore[no-untyped-def]
        return 2 + 1.5 * sum(counts.values()) / 100


def test_widths_in_between_are_interpolated() -> None:
    model = LatencyModel({"a": {0: 0.0, 32: 1.0, 64: 3.0}}, base_ms=1.0, factor=2.0)
    assert model.part_ms(_PARTS[0], 48) == pytest.approx(4.0)
    assert model.predict({"a": 32}, _PARTS[:1]) == pytest.approx(3.0)
    assert model.costs().total(_PARTS[:1], {"a": 64}) == pytest.approx(7.0)


def test_the_correction_is_fitted_to_whole_models() -> None:
    model = LatencyModel({name: {units: units / 100 for units in (0, 16, 32, 48, 64)} for name in "ab"})
    _Machine()._fit(model, _GRID, 0)
    assert (model.base_ms, model.factor) == pytest.approx((2.0, 1.5))
    assert max(map(abs, model.errors)) < 1e-9


def test_random_models_go_from_little_to_all() -> None:
    drawn = random_counts(_PARTS, _GRID, count=9, seed=0)
    assert all(0 < units <= 64 for counts in drawn for units in counts.values())
    assert sum(drawn[0].values()) < sum(drawn[-1].values())


def test_what_is_in_the_table_is_neither_written_nor_converted_again() -> None:
    machine = _Machine()
    machine.bench = SimpleNamespace(known_ms={"key": 3.5}.get)  # type: ignore[assignment]
    assert machine._time(None, {}, "block", "key") == 3.5  # type: ignore[arg-type]
