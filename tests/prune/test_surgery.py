"""Cut and masked models give the same outputs, for every kind of transformer and at every odd number of units."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from edgeopt.errors import InternalError
from edgeopt.export import ExportConfig, export
from edgeopt.models.load import Origin, load_model
from edgeopt.models.reshaped import BUILDER, arguments_of
from edgeopt.models.save import save_model
from edgeopt.models.size import parameters
from edgeopt.prune.structure.anatomy import anatomy_of
from edgeopt.prune.structure.parts import mask
from edgeopt.prune.surgery import Choice, compare, operate, outputs_of
from edgeopt.targets.target import load_target
from tests.prune.tiny_models import BOTH, DECODERS, ENCODERS, IMAGES, tiny


def _chosen(model: torch.nn.Module, how: str) -> list[Choice]:
    choices = []
    for place, part in enumerate(anatomy_of(model).parts):
        counts = {"one": 1, "none": part.least, "mixed": (part.least, part.units, max(1, part.units - 1))[place % 3]}
        count = counts[how]
        choices.append(Choice(part, tuple(range(part.units))[-count:] if count else ()))
    return choices


@pytest.mark.parametrize("how", ["one", "none", "mixed"])
@pytest.mark.parametrize("family", [*ENCODERS, *IMAGES, *DECODERS, *BOTH])
def test_a_cut_model_equals_the_masked_one_and_loads_again(family: str, how: str, tmp_path: Path) -> None:
    model, batch, task = tiny(family)
    whole, config = parameters(model), copy.deepcopy(model.config)
    masked, choices = copy.deepcopy(model), _chosen(model, how)
    for choice in choices:
        mask(masked, choice.part, choice.kept)
    shape = operate(model, choices, batch)
    for before, after in zip(outputs_of(masked, batch), outputs_of(model, batch), strict=True):
        assert float((before - after).abs().max()) <= 1e-5 * max(1.0, float(before.abs().max()))
    assert parameters(model) < whole
    save_model(model, tmp_path, origin=Origin(BUILDER, arguments_of(model, config, shape), shape.kept, task))
    again = load_model(tmp_path)
    assert parameters(again.module) == parameters(model)
    for before, after in zip(outputs_of(model, batch), outputs_of(again.module, batch), strict=True):
        torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-6)


def test_all_units_kept_changes_nothing() -> None:
    model, batch, _ = tiny("bert")
    before = outputs_of(model, batch)
    shape = operate(model, [Choice(part, tuple(range(part.units))) for part in anatomy_of(model).parts], batch)
    assert not shape.kept and not shape.empty
    assert torch.equal(outputs_of(model, batch)[0], before[0])


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_decoder_with_a_layer_without_heads_is_exported_with_the_caches_that_are_left(family: str, tmp_path: Path) -> None:
    model, batch, task = tiny(family)
    parts = anatomy_of(model).parts
    counts = {part.name: part.least if place == 0 else max(1, part.units - 1) for place, part in enumerate(parts)}
    operate(model, [Choice(part, tuple(range(counts[part.name]))) for part in parts], batch)
    assert len(model.config.cache_heads) == 1
    result = export(model, None, target=load_target("x86-vnni"), output=tmp_path, config=ExportConfig(task=task))
    caches = [spec.name for spec in result.inputs if spec.name.startswith("past")]
    assert caches == ["past_key_values.0.key", "past_key_values.0.value"]


def test_two_feed_forward_networks_that_share_weights_are_cut_together() -> None:
    model, batch, _ = tiny("bert")
    first, second = (model.get_submodule(f"bert.encoder.layer.{place}") for place in (0, 1))
    second.intermediate.dense.weight = first.intermediate.dense.weight
    second.output.dense.weight = first.output.dense.weight
    parts = anatomy_of(model).parts
    shared = [part for part in parts if len(part.readers) == 2]
    assert len(shared) == 1 and len(parts) == 3
    operate(model, [Choice(part, tuple(range(0, part.units, 2))) for part in parts], batch)
    assert second.output.dense.weight is first.output.dense.weight
    assert tuple(first.output.dense.weight.shape) == (32, 32)


def test_a_layer_used_twice_is_cut_once() -> None:
    model, batch, _ = tiny("albert")
    assert model.config.num_hidden_layers > 1
    parts = anatomy_of(model).parts
    assert [part.units for part in parts] == [4, 64]
    operate(model, [Choice(part, (1, 3)) for part in parts], batch)


def test_different_outputs_are_an_error() -> None:
    with pytest.raises(InternalError, match=r"output 0 of the pruned model differs by 2\.0e-04"):
        compare([torch.zeros(3)], [torch.full((3,), 2e-4)], "Net")
    with pytest.raises(InternalError, match="other shapes"):
        compare([torch.zeros(3)], [torch.zeros(4)], "Net")
