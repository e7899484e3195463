"""Observing takes the way that the configuration asks for."""

import pytest

from edgeopt.graph.files import as_ir, signature
from edgeopt.quantize.calibrate import observe as module
from edgeopt.quantize.calibrate.calibrator import ObserveConfig
from edgeopt.quantize.calibrate.observe import observe


@pytest.fixture
def observed(conv_model, images):
    def run(config):
        model = as_ir(conv_model)
        return observe(model, images, ["x", "r"], signature=signature(model), channels={"r": 1}, config=config)

    return run


def test_a_cache_is_written_and_read_with_the_same_statistics(observed, tmp_path):
    config = ObserveConfig(cache=tmp_path / "c.safetensors")
    first = observed(config)
    assert config.cache.is_file()
    again, plain = observed(config), observed(ObserveConfig())
    for name in ("x", "r"):
        seen = [
            (item.tensors[name].count, item.tensors[name].minimum, item.tensors[name].maximum) for item in (first, again, plain)
        ]
        assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("way", ["processes", "a cache", "a cache that is there"])
def test_the_same_batches_are_held_aside_whichever_way_is_taken(observed, tmp_path, way):
    plain = observed(ObserveConfig(aside=3))
    config = ObserveConfig(aside=3, jobs=3) if way == "processes" else ObserveConfig(aside=3, cache=tmp_path / "c.safetensors")
    if way == "a cache that is there":
        observed(config)
    found = observed(config)
    assert len(found.held) == 3
    for one, other in zip(found.held, plain.held, strict=True):
        assert (one["x"] == other["x"]).all()
    for name in ("x", "r"):
        for one, other in ((found.tensors[name], plain.tensors[name]), (found.aside[name], plain.aside[name])):
            assert (one.count, one.minimum, one.maximum) == (other.count, other.minimum, other.maximum)
            assert (one.histogram.counts == other.histogram.counts).all()
    joined = found.joined().tensors["x"]
    assert joined.count == observed(ObserveConfig()).tensors["x"].count


@pytest.mark.parametrize(("jobs", "shards"), [(1, 0), (2, 1)])
def test_processes_are_started_only_if_several_are_asked_for(observed, monkeypatch, jobs, shards):
    asked = []
    real = module.observe_shards
    monkeypatch.setattr(module, "observe_shards", lambda task, batches: (asked.append(task), real(task, batches))[1])
    assert observed(ObserveConfig(jobs=jobs)).samples == 8
    assert len(asked) == shards
