"""The decoder with its cache as tensors: step by step it computes what the model computes at once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from edgeopt.export.decoder import GENERATION, cached, cached_inputs
from edgeopt.export.proof import tiny_model
from edgeopt.export.registry import load_family

SIZES = {"num_attention_heads": 8, "hidden_size": 64, "num_hidden_layers": 2}


@pytest.mark.parametrize(
    ("more", "caches"),
    [
        ({}, [(8, 8), (8, 8)]),
        ({"num_key_value_heads": 2}, [(2, 8), (2, 8)]),
        ({"num_key_value_heads": 2, "head_dim": 32}, [(2, 32), (2, 32)]),
        ({"cache_heads": [3, 1]}, [(3, 8), (1, 8)]),  # a pruned decoder
        ({"num_hidden_layers": 1, "num_key_value_heads": None}, [(8, 8)]),
    ],
)
def test_each_layer_has_a_cache_of_its_heads(more: dict[str, object], caches: list[tuple[int, int]]) -> None:
    inputs = cached_inputs(SimpleNamespace(**{**SIZES, **more}))
    names = [f"past_key_values.{layer}.{part}" for layer in range(len(caches)) for part in ("key", "value")]
    assert list(inputs) == ["input_ids", "attention_mask", "position_ids", *names]
    assert [inputs[name].shape for name in names[::2]] == [("batch", heads, "past_sequence", size) for heads, size in caches]
    assert inputs["attention_mask"].shape == ("batch", "past_sequence + sequence")
    assert [inputs[name].kind for name in ("input_ids", "attention_mask", "position_ids")] == ["tokens", "mask", "positions"]


@pytest.fixture(scope="module")
def llama() -> torch.nn.Module:
    model: torch.nn.Module = tiny_model(load_family("llama"), "text-generation")
    return model


def step(
    wrapped: torch.nn.Module, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, past: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Run one call and return its logits and the cache for the next one."""
    with torch.no_grad():
        outputs = wrapped(input_ids=ids, attention_mask=mask, position_ids=positions, **past)
    logits = outputs.pop("logits")
    return logits, {name.replace("present", "past_key_values"): value for name, value in outputs.items()}


def empty(batch: int) -> dict[str, torch.Tensor]:
    return {f"past_key_values.{layer}.{part}": torch.zeros(batch, 2, 0, 8) for layer in range(2) for part in ("key", "value")}


def test_a_prompt_and_then_tokens_give_the_logits_of_the_whole_text(llama: torch.nn.Module) -> None:
    ids = torch.tensor([[7, 11, 13, 17, 19, 23], [29, 31, 37, 41, 43, 47]])
    with torch.no_grad():
        whole = llama(input_ids=ids).logits
    wrapped, cache, found = cached(llama), empty(2), []
    for start, end in ((0, 3), (3, 4), (4, 6)):
        positions = torch.arange(start, end).expand(2, -1)
        logits, cache = step(wrapped, ids[:, start:end], torch.ones(2, end, dtype=torch.int64), positions, cache)
        found.append(logits)
    torch.testing.assert_close(torch.cat(found, dim=1), whole, atol=1e-5, rtol=1e-4)
    assert list(cache) == list(empty(2))
    assert {tuple(value.shape) for value in cache.values()} == {(2, 2, 6, 8)}


def test_padding_on_the_left_hides_nothing(llama: torch.nn.Module) -> None:
    text = torch.tensor([[7, 11, 13]])
    padded = torch.cat([torch.tensor([[5, 5]]), text], dim=1)
    mask, positions = torch.tensor([[0, 0, 1, 1, 1]]), torch.tensor([[0, 0, 0, 1, 2]])
    logits, _ = step(cached(llama), padded, mask, positions, empty(1))
    with torch.no_grad():
        alone = llama(input_ids=text).logits
    torch.testing.assert_close(logits[:, 2:], alone, atol=1e-5, rtol=1e-4)


def test_a_mask_that_does_not_cover_the_cache_is_refused(llama: torch.nn.Module) -> None:
    with pytest.raises(RuntimeError):
        step(cached(llama), torch.ones(1, 2, dtype=torch.int64), torch.ones(1, 3), torch.arange(2)[None], empty(1))


def test_the_task_is_for_causal_models() -> None:
    assert "LlamaForCausalLM".endswith(GENERATION.heads) and "GPT2LMHeadModel".endswith(GENERATION.heads)
    assert GENERATION.outputs == () and GENERATION.auto == "AutoModelForCausalLM"
