"""The hidden width of every family: cut equals masked, and the scores are those of the formula."""

from __future__ import annotations

import copy

import pytest
import torch

from edgeopt.data.samples import from_arrays
from edgeopt.errors import RecipeError
from edgeopt.models.reshape import reshape
from edgeopt.prune.hidden import cut_hidden, hidden_scores, hidden_width, stream_cuts
from edgeopt.prune.structure.anatomy import anatomy_of
from edgeopt.prune.surgery import outputs_of
from tests.prune.tiny_models import BOTH, DECODERS, ENCODERS, tiny


@pytest.mark.parametrize("family", [*ENCODERS, "vit", "dinov2", *DECODERS, *BOTH])
def test_every_family_gives_what_the_masked_model_gives(family: str) -> None:
    model, batch, _ = tiny(family)
    whole = copy.deepcopy(model)
    samples = from_arrays(batch)
    size, parts = hidden_width(model), anatomy_of(model).parts
    shape, kept = cut_hidden(model, parts, samples, left=size // 2 - 1, importance="activations", refit=False)
    assert len(kept) == size // 2 - 1
    reshape(whole, shape)
    sample = samples.collate([0, 1])
    for one, two in zip(outputs_of(model, sample), outputs_of(whole, sample), strict=True):
        assert torch.allclose(one, two, atol=1e-5)
    assert sum(value.numel() for value in model.parameters()) < 0.75 * sum(
        value.numel() for value in tiny(family)[0].parameters()
    )


def test_scores_are_the_formula_in_plain_loops() -> None:
    model, batch, _ = tiny("llama")
    samples = from_arrays({"input_ids": batch["input_ids"]})
    parts, size = anatomy_of(model).parts, hidden_width(model)
    cuts = stream_cuts(model, parts, size)
    found = hidden_scores(model, cuts, size, samples, importance="activations")
    inputs: dict[str, torch.Tensor] = {}
    readers = [cut.layer for cut in cuts if cut.side == "in"]
    for name in readers:
        layer = model.get_submodule(name)
        layer.register_forward_pre_hook(lambda _, given, name=name: inputs.__setitem__(name, given[0].detach()))
    outputs_of(model, samples.collate(range(3)))
    expected = torch.zeros(size, dtype=torch.float64)
    for name in readers:
        x, weight = inputs[name].flatten(0, 1).double(), model.get_submodule(name).weight.detach().double()
        own = [float(weight[:, c].abs().sum()) * float(x[:, c].norm()) for c in range(size)]
        expected += torch.tensor(own, dtype=torch.float64) / sum(own)
    assert torch.allclose(found, expected, rtol=1e-6)
    assert {"model.layers.0.self_attn.q_proj", "model.layers.1.mlp.gate_proj"} <= set(readers)
    assert "model.layers.0.mlp.down_proj" not in readers


def test_the_fit_brings_the_outputs_nearer() -> None:
    errors = []
    for refit in (False, True):
        model, batch, _ = tiny("bert")
        samples = from_arrays(batch)
        whole = outputs_of(model, samples.collate(range(3)))[0]
        cut_hidden(model, anatomy_of(model).parts, samples, left=28, importance="magnitude", refit=refit)
        errors.append(float((outputs_of(model, samples.collate(range(3)))[0] - whole).pow(2).mean()))
    assert errors[1] < errors[0]


def test_networks_with_several_widths_are_refused() -> None:
    with pytest.raises(RecipeError, match="no hidden width that all its layers share"):
        hidden_width(tiny("swin")[0])
