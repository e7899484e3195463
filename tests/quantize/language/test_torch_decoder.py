from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgeopt.errors import RecipeError
from edgeopt.quantize.language.torch_decoder import Constants, inputs_of, shuffled, stacked


def test_windows_are_cut_to_the_shortest_and_batched():
    windows = [np.arange(5), np.arange(4), np.arange(6)]
    assert [batch.shape for batch in stacked(windows, 2)] == [(2, 4), (1, 4)]


@pytest.mark.parametrize("count", [0, 1, 4])
def test_windows_of_one_batch_are_too_few_to_hold_some_aside(count):
    with pytest.raises(RecipeError, match=rf"{count} windows of text are too few .* more than 4 windows"):
        stacked([np.arange(5)] * count, 4)


def test_every_number_comes_once_in_each_round_and_in_the_same_order_in_every_run():
    first = list(itertools.islice(shuffled(5), 10))
    assert sorted(first[:5]) == sorted(first[5:]) == list(range(5))
    assert first == list(itertools.islice(shuffled(5), 10))


def test_a_decoder_gets_tokens_mask_and_an_empty_cache(decoder):
    model, facts = decoder
    given = {value.name: tensor for value, tensor in inputs_of(model, facts, np.ones((2, 7), np.int64)).items()}
    assert given[facts.inputs.tokens].shape == (2, 7)
    assert given[facts.inputs.past_key % 0].shape == (2, facts.kv_heads, 0, facts.head_size)


def test_a_constant_is_read_once(decoder):
    value = next(iter(decoder[0].graph.initializers.values()))
    constants = Constants()
    assert constants(value) is constants(value)
    assert np.array_equal(constants(value).numpy(), value.const_value.numpy())
