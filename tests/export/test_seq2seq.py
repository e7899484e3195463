"""The two halves of an encoder-decoder: together, and step by step, they compute what the model does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from edgeopt.export.proof import tiny_model
from edgeopt.export.registry import load_family
from edgeopt.export.seq2seq import encoder_decoder, speech_source, text_source

TEXT, SPEECH = "text2text-generation", "automatic-speech-recognition"
Tensors = dict[str, torch.Tensor]


def halves(name: str, task: str) -> tuple[Any, Any, Any]:
    """Return a tiny model, its encoder and its decoder."""
    family = load_family(name)
    model = tiny_model(family, f"{task}/encoder")
    return model, *(family.tasks[f"{task}/{half}"].wrap(model) for half in ("encoder", "decoder"))


def decode(decoder: Any, ids: torch.Tensor, cross: Tensors, cuts: list[int], **mask: torch.Tensor) -> torch.Tensor:
    """Decode `ids` in pieces that end at `cuts` and return all logits."""
    heads, size = (next(iter(cross.values())).shape[axis] for axis in (1, 3))
    past: Tensors = {name.replace("cross", "past_key_values"): torch.zeros(len(ids), heads, 0, size) for name in cross}
    found, start = [], 0
    for end in cuts:
        with torch.no_grad():
            outputs = decoder(decoder_input_ids=ids[:, start:end], **cross, **past, **mask)
        found.append(outputs.pop("logits"))
        past = {name.replace("present", "past_key_values"): value for name, value in outputs.items()}
        start = end
    assert {value.shape[2] for value in past.values()} == {cuts[-1]}
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_text_is_decoded_step_by_step_as_at_once(name: str) -> None:
    model, encoder, decoder = halves(name, TEXT)
    source = torch.tensor([[7, 11, 13, 17, 19], [23, 29, 31, 5, 5]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    ids = torch.tensor([[3, 41, 43, 47], [3, 53, 59, 61]])
    with torch.no_grad():
        cross = encoder(input_ids=source, attention_mask=mask)
        whole = model(input_ids=source, attention_mask=mask, decoder_input_ids=ids).logits
    assert list(cross) == [f"cross.{layer}.{part}" for layer in range(2) for part in ("key", "value")]
    assert {tuple(value.shape) for value in cross.values()} == {(2, 4, 5, 8)}
    found = decode(decoder, ids, cross, [1, 2, 4], encoder_attention_mask=mask)
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=1e-4)
    unmasked = decode(decoder, ids, cross, [4], encoder_attention_mask=torch.ones_like(mask))
    assert torch.allclose(unmasked[0], whole[0], atol=1e-5) and not torch.allclose(unmasked[1], whole[1], atol=1e-3)


def test_speech_needs_no_mask() -> None:
    model, encoder, decoder = halves("whisper", SPEECH)
    torch.manual_seed(0)
    features, ids = torch.randn(2, 16, 40), torch.tensor([[3, 41, 43], [3, 47, 53]])
    with torch.no_grad():
        cross = encoder(input_features=features)
        whole = model(input_features=features, decoder_input_ids=ids).logits
    torch.testing.assert_close(decode(decoder, ids, cross, [2, 3]), whole, atol=1e-5, rtol=1e-4)


CONFIG = SimpleNamespace(decoder_layers=1, decoder_attention_heads=4, d_model=32, max_source_positions=20, num_mel_bins=16)


@pytest.mark.parametrize(("masked", "length"), [(True, "source"), (False, 20)])
def test_the_decoder_takes_fixed_keys_and_a_growing_cache(masked: bool, length: int | str) -> None:
    tasks = encoder_decoder("x", "AutoModelForSeq2SeqLM", text_source, masked=masked)
    inputs = tasks["x/decoder"].inputs(CONFIG)
    mask = {"encoder_attention_mask": ("batch", "source")} if masked else {}
    assert {name: value.shape for name, value in inputs.items()} == {
        "decoder_input_ids": ("batch", "sequence"),
        **mask,
        "cross.0.key": ("batch", 4, length, 8),
        "cross.0.value": ("batch", 4, length, 8),
        "past_key_values.0.key": ("batch", 4, "past_sequence", 8),
        "past_key_values.0.value": ("batch", 4, "past_sequence", 8),
    }


def test_sources_are_tokens_with_a_mask_or_a_spectrogram_of_fixed_length() -> None:
    source = text_source(CONFIG)
    assert {name: (value.shape, value.kind) for name, value in source.items()} == {
        "input_ids": (("batch", "source"), "tokens"),
        "attention_mask": (("batch", "source"), "mask"),
    }
    (spectrogram,) = speech_source(CONFIG).values()
    assert spectrogram.shape == ("batch", 16, 40), "the encoder's convolution halves the number of frames"


def test_the_halves_come_before_the_three_that_optimum_reads() -> None:
    tasks = encoder_decoder("x", "Auto", text_source, masked=True)
    assert list(tasks) == [
        "x/encoder",
        "x/decoder",
        "x/optimum-encoder",
        "x/optimum-decoder",
        "x/optimum-decoder-with-past",
    ]
    assert all("T5ForConditionalGeneration".endswith(task.heads) and task.auto == "Auto" for task in tasks.values())
