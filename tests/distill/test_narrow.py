"""Narrower students cut from their teacher."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch import nn

from edgeopt.distill.narrow import narrow_model
from edgeopt.errors import ModelError, RecipeError


def teacher(hidden: int = 32) -> nn.Module:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        num_labels=3,
        max_position_embeddings=16,
    )
    return transformers.BertForSequenceClassification(config).eval()


def batches() -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "input_ids": torch.randint(0, 50, (16, 10), generator=generator),
            "attention_mask": torch.ones(16, 10, dtype=torch.long),
        }
        for _ in range(8)
    ]


def test_hidden_states_that_fit_a_smaller_space_survive_the_cut() -> None:
    """A teacher whose hidden states use 16 of 32 components gives nearly the same answers at width 16."""
    original = teacher()
    space = torch.linalg.qr(torch.randn(32, 16, generator=torch.Generator().manual_seed(1))).Q
    project = space @ space.T
    with torch.no_grad():
        for name, parameter in original.named_parameters():
            if "embeddings.weight" in name or "_embeddings.weight" in name:
                parameter.copy_(parameter @ project * 20)
            elif name.endswith("output.dense.weight"):
                parameter.copy_(project @ parameter)
    narrowed = narrow_model(original, 16, batches())
    assert narrowed.module.config.hidden_size == 16
    assert narrowed.module.config.num_attention_heads == 2
    assert narrowed.module.config.intermediate_size == 32
    assert narrowed.basis.shape == (32, 16)
    assert torch.allclose(narrowed.basis.T @ narrowed.basis, torch.eye(16), atol=1e-5)
    inputs = batches()[0]
    with torch.no_grad():
        theirs = original.bert.embeddings(inputs["input_ids"]) @ narrowed.basis
        ours = narrowed.module.bert.embeddings(inputs["input_ids"])
    correlation = torch.corrcoef(torch.stack([ours.flatten(), theirs.flatten()]))[0, 1]
    assert correlation > 0.95, f"{correlation:.3f}"


def test_a_cut_teacher_begins_closer_than_a_random_student() -> None:
    original = teacher()
    narrowed = narrow_model(original, 24, batches())
    torch.manual_seed(5)
    random = type(original)(narrowed.module.config).eval()
    inputs = batches()[0]
    with torch.no_grad():
        wanted = original.bert(**inputs).last_hidden_state @ narrowed.basis
        errors = [
            (model.bert(**inputs).last_hidden_state - wanted).square().mean().item() for model in (narrowed.module, random)
        ]
    assert errors[0] < 0.6 * errors[1], errors


@pytest.mark.parametrize("width", [32, 20, 40])
def test_widths_that_cannot_be_are_refused(width: int) -> None:
    with pytest.raises(RecipeError, match="width is 32 with heads of 8; choose one of 8, 16, 24"):
        narrow_model(teacher(), width, batches())


def test_models_without_such_layers_are_refused() -> None:
    with pytest.raises(ModelError, match="cannot be narrowed"):
        narrow_model(nn.Linear(2, 2), 8, batches())


def test_decoders_and_models_of_images_are_refused() -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    decoder = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=20, **sizes))
    images = transformers.ViTModel(transformers.ViTConfig(image_size=8, patch_size=4, **sizes))
    for model, inputs in ((decoder, batches()), (images, [{"pixel_values": torch.zeros(1, 3, 8, 8)}])):
        with pytest.raises(ModelError, match="text encoders with LayerNorm"):
            narrow_model(model, 16, inputs)
