"""The decode loop: rows, prefixes, streams that leave."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from edgeopt.generate.engine.arrays import Array
from edgeopt.generate.engine.errors import PromptError
from edgeopt.generate.engine.loop import Loop
from edgeopt.generate.engine.sampling import Sampling
from edgeopt.generate.engine.stream import Stream

VOCABULARY = 97


class Counting:
    """A cache of a model that continues a text with its sum; counts what it is asked to run."""

    def __init__(self, rows: int) -> None:
        self.texts: list[list[int]] = [[] for _ in range(rows)]
        self.runs: list[int] = []

    @property
    def lengths(self) -> list[int]:
        return [len(text) for text in self.texts]

    def extend(self, row: int, tokens: Sequence[int], want: int = 1) -> Array:
        self.runs.append(len(tokens))
        self.texts[row] += tokens
        count = len(self.texts[row])
        return np.stack([self._logits(self.texts[row][: count - want + 1 + index]) for index in range(want)])

    def step(self, tokens: Sequence[int]) -> Array:
        return np.concatenate([self.extend(row, [token]) for row, token in enumerate(tokens)])

    def rewind(self, row: int, length: int) -> None:
        del self.texts[row][length:]

    def swap(self, one: int, other: int) -> None:
        self.texts[one], self.texts[other] = self.texts[other], self.texts[one]

    def copy(self, source: int, target: int, length: int) -> None:
        self.texts[target] = self.texts[source][:length]

    def reserve(self, length: int) -> None:
        assert length <= 5000

    def _logits(self, text: Sequence[int]) -> Array:
        logits = np.zeros(VOCABULARY, np.float32)
        logits[(sum(text) + len(text)) % VOCABULARY] = 1
        return logits


def expected(prompt: Sequence[int], count: int) -> tuple[int, ...]:
    text = list(prompt)
    for _ in range(count):
        text.append((sum(text) + len(text)) % VOCABULARY)
    return tuple(text[len(prompt) :])


def request(prompt: Sequence[int], count: int = 5, **options: bool) -> Stream:
    return Stream(list(prompt), Sampling(max_tokens=count), None, **options)


def finish(loop: Loop, *streams: Stream) -> None:
    while any(stream.reason is None for stream in streams):
        loop.step()


def test_streams_join_and_leave_at_any_token() -> None:
    cache = Counting(3)
    loop = Loop(cache, context=5000)
    streams = [request(range(index, index + 3 + 7 * index), 3 + 4 * index) for index in range(9)]
    waiting, steps = list(streams), 0
    while waiting or loop.running:
        if waiting and loop.free:
            loop.add(waiting.pop(0))
        loop.step()
        steps += 1
    assert all(stream.answer().tokens == expected(stream.prompt, stream.options.max_tokens) for stream in streams)
    assert steps < sum(stream.options.max_tokens for stream in streams), "streams were not decoded together"


def test_a_long_prompt_is_read_in_parts_while_others_go_on() -> None:
    cache = Counting(2)
    loop = Loop(cache, context=5000)
    first, long = request([1, 2], 30), request(list(range(90)) * 10, 2)
    loop.add(first)
    loop.step()
    loop.add(long)
    made = len(first.made)
    loop.step()
    assert len(first.made) == made + 1
    assert not long.made
    assert max(cache.runs) <= 256
    finish(loop, first, long)
    assert long.answer().tokens == expected(long.prompt, 2)


def test_a_prompt_that_begins_like_an_ended_text_is_read_from_there() -> None:
    cache = Counting(2)
    loop = Loop(cache, context=5000)
    first, other = request(range(50)), request(range(40, 90))
    loop.add(first)
    finish(loop, first)
    loop.add(other)
    finish(loop, other)
    second = request([*range(50), *first.made, 7, 7])
    loop.add(second)
    finish(loop, second)
    assert second.reused == 50 + 4  # the last token that was made was never run
    assert second.answer().tokens == expected(second.prompt, 5)


def test_a_beginning_is_copied_from_a_row_in_use() -> None:
    cache = Counting(2)
    loop = Loop(cache, context=5000)
    first, second = request(range(50), 40), request([*range(30), 3, 3], 4)
    loop.add(first)
    loop.step()
    loop.add(second)
    finish(loop, first, second)
    assert second.reused == 30
    assert second.answer().tokens == expected(second.prompt, 4)
    assert first.answer().tokens == expected(first.prompt, 40)


def test_the_same_prompt_again_runs_its_last_token() -> None:
    loop = Loop(Counting(1), context=5000)
    for reused in (0, 19):
        stream = request(range(20))
        loop.add(stream)
        finish(loop, stream)
        assert stream.reused == reused
        assert stream.answer().tokens == expected(range(20), 5)


def test_a_step_names_each_stream_once() -> None:
    loop = Loop(Counting(2), context=5000)
    stream = request([1, 2], 2)
    loop.add(stream)
    assert loop.step() == [stream]  # its prompt was read, and it was decoded together with the others
    assert stream.reason == "length"


def test_a_dropped_stream_frees_its_row_at_once() -> None:
    loop = Loop(Counting(2), context=5000)
    one, two, three = request([1], 50), request([2], 50), request([3], 4)
    for stream in (one, two):
        loop.add(stream)
        loop.step()
    assert not loop.free
    loop.drop(one)
    assert loop.free
    loop.add(three)
    loop.drop(three)
    assert loop.free
    finish(loop, two)
    assert two.answer().tokens == expected([2], 50)
    assert one.reason == three.reason == "cancelled"


def test_drafts_change_the_number_of_runs_and_not_the_tokens() -> None:
    cache = Counting(1)
    prompt = [1, 2, 3, 4, *expected([1, 2, 3, 4], 30), 5, 5, 1, 2, 3, 4]
    stream = request(prompt, 40, speculate=True)
    loop = Loop(cache, context=5000)
    loop.add(stream)
    finish(loop, stream)
    assert stream.answer().tokens == expected(prompt, 40)
    assert cache.texts[0] == [*prompt, *stream.made[:-1]]


@pytest.mark.parametrize(("prompt", "said"), [([], "the prompt is empty"), ([1] * 5000, "5000 tokens, .* by at least 1")])
def test_impossible_prompts_are_refused(prompt: list[int], said: str) -> None:
    with pytest.raises(PromptError, match=said):
        Loop(Counting(1), context=5000).add(request(prompt))
