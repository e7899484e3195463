"""Pruning a transformer within a budget, and what cannot be had."""

from __future__ import annotations

import pytest
import torch

from edgeopt.errors import ModelError, RecipeError
from edgeopt.models.size import macs, parameters
from edgeopt.prune.config import PruneOptions
from edgeopt.prune.latency.table import LatencyModel
from edgeopt.prune.structure.parts import Kind, Part
from edgeopt.prune.transformer import Setting, prune_transformer
from tests.prune.tiny_models import texts, tiny

_SETTING = Setting(step=8)


@pytest.mark.parametrize("importance", ["obs", "magnitude", "taylor"])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_the_budget_holds(importance: str, scope: str) -> None:
    model, _, _ = tiny("bert")
    samples = texts()
    before = macs(model, samples.collate([0]))
    options = PruneOptions.read({"macs": 0.6, "importance": importance, "scope": scope, "search_rounds": 5}, where="here")
    done = prune_transformer(model, samples, options=options, setting=_SETTING)
    assert done.allocation is not None and done.allocation.planned <= done.allocation.budget
    assert macs(model, samples.collate([0])) == pytest.approx(done.allocation.planned)
    assert 0.4 * before < macs(model, samples.collate([0])) <= 0.6 * before


def test_parts_that_hardly_change_the_outputs_go_first() -> None:
    """Errors of their own outputs, which are shares, say the opposite here: evenly narrowed models were better."""
    model, _, _ = tiny("llama")
    with torch.no_grad():
        for name, factor in (("model.layers.0.mlp.down_proj", 0.01), ("model.layers.1.mlp.down_proj", 30), ("lm_head", 30)):
            model.get_submodule(name).weight.mul_(factor)  # type: ignore[operator, union-attr]
    options = PruneOptions.read({"macs": 0.9, "search_rounds": 1, "heads": False, "recovery": "fit"}, where="here")
    done = prune_transformer(model, texts(), options=options, setting=_SETTING)
    left = {layer.name: layer.channels_after for layer in done.layers}
    assert left["model.layers.0.mlp"] < left["model.layers.1.mlp"]


def test_parameters_are_a_budget() -> None:
    model, _, _ = tiny("llama")
    before = parameters(model)
    options = PruneOptions.read({"parameters": 0.7, "search_rounds": 3}, where="here")
    prune_transformer(model, texts(), options=options, setting=_SETTING)
    assert parameters(model) <= 0.7 * before


def test_an_impossible_budget_says_what_can_be_reached() -> None:
    model, _, _ = tiny("bert")
    before = parameters(model)
    with pytest.raises(
        ModelError,
        match=r"parameters 0.01x cannot be reached.*21,218 parameters are left of 37,922, 0.560x.*give at least 0.5[67]x",
    ):
        prune_transformer(model, texts(), options=PruneOptions(parameters=0.01), setting=_SETTING)
    assert parameters(model) == before


def test_layers_are_dropped_before_the_rest() -> None:
    model, _, _ = tiny("bert")
    done = prune_transformer(model, texts(), options=PruneOptions(drop_layers=1), setting=_SETTING)
    assert done.allocation is None and len(model.get_submodule("bert.encoder.layer")) == 1
    model, _, _ = tiny("bert")
    options = PruneOptions.read({"drop_layers": 1, "macs": 0.3, "search_rounds": 2}, where="here")
    done = prune_transformer(model, texts(), options=options, setting=_SETTING)
    assert done.allocation is not None and len(done.shape.layers["bert.encoder.layer"]) == 1
    assert done.allocation.planned <= 0.3 * done.allocation.whole


def test_units_may_be_named_in_place_of_a_budget() -> None:
    model, _, _ = tiny("bert")
    heads, neurons = "bert.encoder.layer.0.attention.self", "bert.encoder.layer.1"
    options = PruneOptions.read({"units": {heads: 1, neurons: 8}}, where="here")
    done = prune_transformer(model, texts(), options=options, setting=_SETTING)
    left = {layer.name: layer.channels_after for layer in done.layers if layer.channels_after < layer.channels_before}
    assert left == {heads: 1, neurons: 8}
    assert done.allocation is not None and macs(model, texts().collate([0])) == pytest.approx(done.allocation.planned)


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ({"bert.encoder.layer.7": 8}, r"the model has no part 'bert\.encoder\.layer\.7' \(did you mean 'bert"),
        ({"bert.encoder.layer.1": 999}, r"'bert\.encoder\.layer\.1' can have 0 to \d+ neurons, not 999"),
    ],
)
def test_units_that_cannot_be_are_refused(units: dict[str, int], message: str) -> None:
    model, _, _ = tiny("bert")
    with pytest.raises(RecipeError, match=message):
        prune_transformer(model, texts(), options=PruneOptions(units=units), setting=_SETTING)


@pytest.mark.parametrize("given", [{"latency": "0.5x"}, {"units": {"a": 1}}, {"drop_layers": 1}, {}])
def test_options_that_are_written_are_read_again_as_they_were(given: dict[str, object]) -> None:
    options = PruneOptions.read(given, where="here")
    again = PruneOptions.read(options.model_dump(mode="json", exclude_none=True), where="here")
    assert again == options and again.without_budget == options.without_budget


def test_a_share_of_the_latency_is_one_of_the_measured_whole_model() -> None:
    part = Part("a", Kind.NEURONS, 64, (), ())
    measured = LatencyModel({"a": {0: 0.0, 64: 3.0}}, base_ms=1.0, whole_ms=3.5).costs()
    assert (measured.whole([part]), measured.total([part], {"a": 64})) == (3.5, 4.0)
    assert LatencyModel({"a": {0: 0.0, 64: 3.0}}, base_ms=1.0).costs().whole([part]) == 4.0


def test_latency_needs_a_target() -> None:
    model, _, _ = tiny("bert")
    with pytest.raises(RecipeError, match="give --target"):
        prune_transformer(model, texts(), options=PruneOptions(latency="0.5x"), setting=_SETTING)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"latency": "fast"}, "write 5ms, or 0.5x"),
        ({"latency": "0ms"}, "write 5ms, or 0.5x"),
        ({"latency": "1x"}, "must be below 1x"),
        ({"macs": 0.5, "latency": "0.5x"}, "give one budget, not macs and latency"),
        ({"parameters": 1.0}, "less than 1"),
    ],
)
def test_wrong_budgets_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        PruneOptions.read(values, where="here")
