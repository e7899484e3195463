"""The engine: transformers' tokens, alone, in a batch, from a cache, and with n-gram speculation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgeopt.generate.engine.engine import Engine
from edgeopt.generate.engine.errors import FolderError, PromptError
from edgeopt.generate.engine.sampling import Sampling

PROMPTS = [
    "Once upon a time",
    "The quick brown fox jumps over the lazy dog, again and again: one, two",
    "a",
    "Grüße aus",
    "def add(a, b): return a + b def add(a, b): return",
]


def reference(teacher: tuple[Any, Path], prompt: list[int], steps: int) -> list[int]:
    """Return transformers' greedy tokens after `prompt`."""
    import torch

    made = teacher[0].generate(torch.tensor([prompt]), max_new_tokens=steps, do_sample=False)
    return [int(token) for token in made[0, len(prompt) :]]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_greedy_tokens_are_those_of_transformers(engine: Engine, teacher: tuple[Any, Path], prompt: str) -> None:
    ids = engine.tokens.encode(prompt)
    answer = engine.generate(ids, Sampling(max_tokens=24))
    assert list(answer.tokens) == reference(teacher, ids, 24)
    assert answer.text == engine.tokens.decode(answer.tokens)


def test_a_batch_of_ragged_prompts_gives_each_its_own_answer(engine: Engine) -> None:
    options = [Sampling(max_tokens=6 + 5 * index) for index in range(len(PROMPTS))]
    alone = [engine.generate(prompt, option).tokens for prompt, option in zip(PROMPTS, options, strict=True)]
    requests = [engine.request(prompt, option) for prompt, option in zip(PROMPTS, options, strict=True)]
    together = engine.generate_many(requests, rows=3)
    assert [answer.tokens for answer in together] == alone


def test_speculation_gives_the_same_tokens(engine: Engine) -> None:
    offered = kept = 0
    for prompt in PROMPTS:
        options = Sampling(max_tokens=64, ignore_eos=True, repetition_penalty=0.6)  # below 1, so that texts repeat themselves
        plain = engine.generate(prompt, options)
        drafted = engine.generate(prompt, options, speculate=True)
        assert drafted.tokens == plain.tokens
        offered, kept = offered + drafted.drafted, kept + drafted.accepted
    assert 0 < kept < offered, f"{kept} of {offered} guesses were right: neither case is covered"


def test_speculation_draws_the_same_sample(engine: Engine) -> None:
    options = Sampling(max_tokens=32, temperature=0.7, seed=3, ignore_eos=True, repetition_penalty=0.6)
    ids = engine.tokens.encode(PROMPTS[4])
    assert engine.generate(ids, options, speculate=True).tokens == engine.generate(ids, options).tokens


def test_a_second_turn_reads_the_new_part_only(portable: Path) -> None:
    engine = Engine.open(portable)
    first = [{"role": "user", "content": "Hello there, small model"}]
    one = engine.generate(engine.prompt(first), Sampling(max_tokens=8))
    second = [*first, {"role": "assistant", "content": one.text}, {"role": "user", "content": "And now?"}]
    two = engine.generate(engine.prompt(second), Sampling(max_tokens=8))
    assert two.reused_tokens >= len(engine.prompt(first)) - 5
    assert two.tokens == Engine.open(portable).generate(engine.prompt(second), Sampling(max_tokens=8)).tokens


def test_an_abandoned_stream_leaves_the_engine_usable(engine: Engine) -> None:
    stream = engine.stream(PROMPTS[0], Sampling(max_tokens=200, ignore_eos=True))
    next(stream)
    stream.close()
    assert engine.answered is not None
    assert engine.answered.reason == "cancelled"
    again = engine.generate(PROMPTS[1], Sampling(max_tokens=8))
    assert again.tokens == engine.generate(PROMPTS[1], Sampling(max_tokens=8)).tokens


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(engine: Engine) -> None:
    with pytest.raises(PromptError, match=r"600 tokens, the model's context is 512 .* by at least 89"):
        engine.request([5] * 600)


def test_an_answer_ends_where_the_context_does(engine: Engine) -> None:
    answer = engine.generate([7] * 500, Sampling(max_tokens=100, ignore_eos=True))
    assert len(answer.tokens) == 12
    assert answer.reason == "length"


def test_no_chat_template_says_how_to_give_one(portable: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(portable, tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(PromptError, match="--template FILE"):
        Engine.open(folder).prompt([{"role": "user", "content": "hi"}])


def test_a_tokenizer_of_another_model_is_refused(portable: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(portable, tmp_path / "model")
    values = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    for extra in range(9):
        token = {"id": 400 + extra, "content": f"<extra{extra}>", "special": True}
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        values["added_tokens"].append({**token, **flags})
    (folder / "tokenizer.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(FolderError, match=r"has 409 tokens, the model's vocabulary is 400"):
        Engine.open(folder)


def test_a_token_outside_the_vocabulary_is_refused(engine: Engine) -> None:
    with pytest.raises(PromptError, match="token 400 is not in the model's vocabulary of 400"):
        engine.request([1, 400])


def test_logprobs_are_those_of_the_model(engine: Engine) -> None:
    answer = engine.generate(PROMPTS[0], Sampling(max_tokens=4, logprobs=3))
    assert len(answer.logprobs) == len(answer.tokens)
    for token, entry in zip(answer.tokens, answer.logprobs, strict=True):
        assert entry.token == token == entry.top[0][0]
        assert entry.logprob == entry.top[0][1] <= 0
        assert len(entry.top) == 3
