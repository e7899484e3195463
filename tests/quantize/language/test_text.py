from __future__ import annotations

import numpy as np
import pytest

from edgeopt.errors import DataError
from edgeopt.quantize.language.text import Reader, compare, likelihoods, own_prompts, read_windows, spread


def test_likelihoods_are_those_of_the_definition():
    rng = np.random.default_rng(0)
    exact, made = rng.normal(size=(2, 5, 7)).astype(np.float32)
    following = rng.integers(0, 7, 5)
    p = np.exp(exact) / np.exp(exact).sum(-1, keepdims=True)
    q = np.exp(made) / np.exp(made).sum(-1, keepdims=True)
    found = likelihoods(exact, made, following)
    rows = np.arange(5)
    expected = [
        np.log(p[rows, following]).sum(),
        np.log(q[rows, following]).sum(),
        (p * np.log(p / q)).sum(),
        (p.argmax(-1) == q.argmax(-1)).sum(),
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_model_is_as_likely_as_itself(decoder, windows):
    model, facts = decoder
    reader = Reader(model, facts)
    found = compare(reader, reader, windows[:2])
    assert found.tokens == 2 * 31
    assert found.before == found.after
    assert found.kl == pytest.approx(0, abs=1e-6)
    assert found.agreement == 1
    assert found.increase == 0


def test_only_the_asked_positions_are_returned(decoder, windows):
    model, facts = decoder
    reader = Reader(model, facts)
    np.testing.assert_allclose(reader(windows[0], np.array([2, 5])), reader(windows[0])[[2, 5]], atol=1e-4)


def test_windows_are_spread_over_the_text():
    windows = [np.array([place]) for place in range(10)]
    assert [int(window[0]) for window in spread(windows, 3)] == [0, 4, 9]
    assert len(spread(windows, 20)) == 10


def test_text_needs_a_tokenizer_and_enough_words(tmp_path):
    with pytest.raises(DataError, match="no such text file"):
        read_windows(tmp_path / "none.txt", tmp_path)
    (tmp_path / "text.txt").write_text("a few words")
    with pytest.raises(DataError, match=r"tokenizer\.json: missing"):
        read_windows(tmp_path / "text.txt", tmp_path)
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"a": 0, "few": 1, "words": 2, "?": 3}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(DataError, match="3 tokens; give a text of 256"):
        read_windows(tmp_path / "text.txt", tmp_path)
    assert [window.tolist() for window in read_windows(tmp_path / "text.txt", tmp_path, length=3)] == [[0, 1, 2]]


def test_prompts_without_a_tokenizer_are_random_tokens(tmp_path):
    prompts = own_prompts(tmp_path, 100)
    assert len(prompts) == 8
    assert all(prompt.min() >= 5 and prompt.max() < 100 for prompt in prompts)


def test_a_tokenizer_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "text.txt").write_text("a few words")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match=r"tokenizer\.json: not a tokenizer that can be read"):
        read_windows(tmp_path / "text.txt", tmp_path)
