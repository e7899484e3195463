"""The stage `forecast`: what the parts of a tiny text classifier cost and what each does, without any training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from edgeopt.models.load import LoadedModel
from edgeopt.prune.config import PruneOptions
from edgeopt.prune.latency.table import LatencyModel
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.stages import forecast as module
from edgeopt.stages.forecast import run_forecast
from edgeopt.stages.results import read_facts, write_facts
from edgeopt.targets.target import load_target
from tests.prune.tiny_models import texts, tiny


class _Measurer:
    """A table in which a unit takes 1 ms, and half of that where the file is converted."""

    def __init__(self, path: object, parts: Any, inputs: object, bench: object, convert: object) -> None:
        self.parts, self.each = parts, 0.5 if convert else 1.0

    def latency_model(self, grid: Any, *, seed: int) -> LatencyModel:
        times = {part.name: {0: 0.0, part.units: self.each * part.units} for part in self.parts}
        return LatencyModel(times, 2.0 * self.each, 1.0, [0.1, -0.1], 9.0)


@contextmanager
def _bench(target: object) -> Iterator[None]:
    yield None


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.setattr("edgeopt.prune.latency.table.Measurer", _Measurer)
    monkeypatch.setattr("edgeopt.prune.latency.bench.bench", _bench)
    model, _, _ = tiny("distilbert")
    loaded = LoadedModel(model, "text-classification", None)
    monkeypatch.setattr("edgeopt.stages.torch_model.load", lambda job, name: loaded)
    recipe = SimpleNamespace(distill=None, prune=PruneOptions(round_to=8), quantize=QuantizeConfig(), seed=0)
    data = SimpleNamespace(split=lambda name: texts(12))
    return SimpleNamespace(recipe=recipe, data=data, target=load_target("x86-vnni"))


def test_every_part_has_versions_with_their_times_and_errors(job: SimpleNamespace) -> None:
    found = run_forecast(job)
    assert found.precisions == ("fp32", "int8") and found.base_ms == {"fp32": 2.0, "int8": 1.0} and not found.reason
    assert found.fit_error["int8"] == pytest.approx(0.1) and found.whole_bytes > 10_000
    for part in found.parts.values():
        units = [version.units for version in part.versions]
        assert units == sorted(units) and part.versions[-1].error == 0.0 < part.versions[0].error
        assert all(one.ms == {"fp32": float(one.units), "int8": 0.5 * one.units} for one in part.versions)
        assert part.nodes and 0 < part.int8_error < 0.1 and part.parameters_per_unit > 0
    assert read_facts("forecast", write_facts("forecast", found)) == found


def test_what_cannot_be_predicted_has_its_reason(job: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch import nn

    job.recipe.prune = PruneOptions(drop_layers=1)
    assert "whole layers" in run_forecast(job).reason
    job.recipe.prune = PruneOptions()
    job.recipe.quantize = QuantizeConfig(scheme="dynamic")
    assert "scheme = 'dynamic'" in run_forecast(job).reason
    job.recipe.quantize = QuantizeConfig()
    job.target = SimpleNamespace(name="npu", device=SimpleNamespace(emulated=True))
    assert "'npu' is an emulator" in run_forecast(job).reason
    monkeypatch.setattr("edgeopt.stages.torch_model.load", lambda job, name: LoadedModel(nn.Linear(2, 2), None, None))
    assert "is no transformer" in run_forecast(job).reason


def test_versions_are_thinned_out_evenly() -> None:
    assert module._thinned(range(12)) == [0, 2, 3, 5, 6, 8, 9, 11]
    assert module._thinned([0, 96]) == [0, 96] and module._thinned([]) == []
