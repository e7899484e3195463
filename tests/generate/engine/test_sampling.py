"""Sampling: the distributions of transformers' processors, seeds, greedy ties, and options that are refused."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from edgeopt.generate.engine.errors import PromptError, RunError
from edgeopt.generate.engine.sampling import Sampler, Sampling, distribution, log_probabilities

LOGITS = np.random.default_rng(0).normal(size=50).astype(np.float32) * 3


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.7},
        {"temperature": 1.3, "top_k": 7},
        {"temperature": 1.0, "top_p": 0.8},
        {"temperature": 1.0, "min_p": 0.05},
        {"temperature": 0.9, "top_k": 20, "top_p": 0.9, "min_p": 0.02},
    ],
)
def test_the_distribution_is_that_of_transformers(options: dict[str, Any]) -> None:
    import torch
    from transformers import (
        LogitsProcessorList,
        MinPLogitsWarper,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    kinds = {
        "temperature": TemperatureLogitsWarper,
        "top_k": TopKLogitsWarper,
        "top_p": TopPLogitsWarper,
        "min_p": MinPLogitsWarper,
    }
    chain = LogitsProcessorList([kinds[name](value) for name, value in options.items()])
    wanted = torch.softmax(chain(torch.zeros(1, 1, dtype=torch.long), torch.from_numpy(LOGITS.copy())[None]), -1)[0].numpy()
    tokens, probabilities = distribution(LOGITS, Sampling(**options))
    got = np.zeros(50)
    got[tokens] = probabilities
    assert np.abs(got - wanted).max() < 1e-6


def test_repetition_penalty_is_that_of_transformers() -> None:
    import torch
    from transformers import RepetitionPenaltyLogitsProcessor

    prompt = [3, 4, 4, 9]
    wanted = RepetitionPenaltyLogitsProcessor(1.7)(torch.tensor([prompt]), torch.from_numpy(LOGITS.copy())[None])[0].numpy()
    got = Sampler(Sampling(repetition_penalty=1.7), prompt)._penalized(LOGITS)
    assert np.allclose(got, wanted)


def test_greedy_takes_the_first_of_equal_logits() -> None:
    assert Sampler(Sampling(), []).choose(np.array([0.0, 2.0, 2.0, 1.0], np.float32)) == 1


@pytest.mark.parametrize("options", [Sampling(), Sampling(temperature=5.0, seed=0), Sampling(repetition_penalty=2.0)])
def test_suppressed_tokens_are_never_chosen(options: Sampling) -> None:
    best = np.argsort(-LOGITS)[:3].tolist()
    given = LOGITS.copy()
    sampler = Sampler(options, [], best)
    assert not {sampler.choose(given) for _ in range(100)} & set(best)
    assert np.array_equal(given, LOGITS)


def test_a_seed_repeats_and_draws_follow_the_distribution() -> None:
    options = Sampling(temperature=1.0, seed=5)
    one, two = Sampler(options, []), Sampler(options, [])
    drawn = [one.choose(LOGITS) for _ in range(4000)]
    assert drawn == [two.choose(LOGITS) for _ in range(4000)]
    probabilities = np.exp(log_probabilities(LOGITS))
    counts = Counter(drawn)
    worst = max(abs(counts[token] / 4000 - probabilities[token]) for token in range(50))
    assert worst < 0.03, f"largest difference of a frequency from its probability: {worst:.3f}"


def test_presence_frequency_and_bias_change_logits() -> None:
    sampler = Sampler(Sampling(presence_penalty=1.0, frequency_penalty=0.5, logit_bias={2: 100.0}), [])
    flat = np.zeros(4, np.float32)
    assert [sampler.choose(flat), sampler.choose(flat)] == [2, 2]
    assert sampler._penalized(flat).tolist() == [0.0, 0.0, 98.0, 0.0]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"temprature": 1.0}, "did you mean 'temperature'"),
        ({"temperature": -1.0}, "from 0 to 100"),
        ({"top_p": 0.0}, "above 0 and at most 1"),
        ({"top_k": -3}, "0 or more"),
        ({"max_tokens": 0}, "1 or more"),
        ({"stop": ("",)}, "not empty"),
        ({"temperature": "hot"}, "wrong type"),
    ],
)
def test_impossible_options_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(PromptError, match=said):
        Sampling.read(values)


@pytest.mark.parametrize(
    "values",
    [
        {"top_k": 1.5},
        {"seed": 0.5},
        {"max_tokens": 2.5},
        {"logprobs": 1.5},
        {"top_p": True},
        {"ignore_eos": "no"},
        {"logit_bias": 3},
        {"logit_bias": {"the": 1.0}},
    ],
)
def test_an_option_of_another_type_is_refused_before_a_token_is_chosen(values: dict[str, Any]) -> None:
    with pytest.raises(PromptError, match=rf"{next(iter(values))} is .*: must be "):
        Sampling.read(values)


def test_biases_may_name_tokens_in_digits() -> None:
    assert Sampling.read({"logit_bias": {"5": 1}}).logit_bias == {5: 1.0}


@pytest.mark.parametrize("more", [{}, {"top_k": 3}, {"top_p": 0.5}, {"min_p": 0.1}])
@pytest.mark.parametrize("temperature", [1e-300, 1e-45, 1e-9])
def test_the_coldest_temperatures_choose_the_best_token(temperature: float, more: dict[str, Any]) -> None:
    for logits in (LOGITS, LOGITS + np.float32(1000)):  # (whose neighbouring numbers are far apart)
        sampler = Sampler(Sampling(temperature=temperature, seed=0, **more), [])
        assert [sampler.choose(logits) for _ in range(3)] == [int(logits.argmax())] * 3


@pytest.mark.parametrize("options", [{}, {"temperature": 1.0}, {"temperature": 1.0, "top_p": 0.9}, {"repetition_penalty": 2.0}])
def test_logits_that_are_no_numbers_are_an_error(options: dict[str, Any]) -> None:
    logits = LOGITS.copy()
    logits[7] = np.nan
    with pytest.raises(RunError, match="gives NaN in the place of logits"):
        Sampler(Sampling(**options), [1]).choose(logits)


def test_suppressed_tokens_outside_the_vocabulary_are_ignored() -> None:
    """A configuration may name tokens of a larger vocabulary, or -1 for none."""
    best, second = np.argsort(-LOGITS)[:2]
    assert Sampler(Sampling(), [], suppressed=[-1, 50, 10**9]).choose(LOGITS) == best
    assert Sampler(Sampling(), [], suppressed=[-1, int(best), 99]).choose(LOGITS) == second
