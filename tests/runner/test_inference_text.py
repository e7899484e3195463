"""Text preprocessing on the device: pairs, truncation and offsets against the package tokenizers."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from edgeopt.device_code import inference

TEXT = inference("text")


def bert() -> Tokenizer:
    letters = [chr(code) for code in range(33, 127)] + list("é中")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters), "##bc"]
    vocabulary = {word: place for place, word in enumerate(dict.fromkeys(words))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    template = {"single": "[CLS] $A [SEP]", "pair": "[CLS] $A [SEP] $B:1 [SEP]:1"}
    tokenizer.post_processor = processors.TemplateProcessing(**template, special_tokens=ends)
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    return tokenizer


BERT = bert()
SETTINGS = json.loads(BERT.to_str())
WORDS = st.text("abc é中.,É\t-", max_size=20)


@settings(max_examples=200, deadline=None)
@given(first=WORDS, second=st.none() | WORDS, room=st.integers(5, 24))
def test_ids_segments_and_offsets_are_those_of_the_package(first: str, second: str | None, room: int) -> None:
    BERT.enable_truncation(room)
    want = BERT.encode(first) if second is None else BERT.encode(first, second)
    got = TEXT.wordpiece(first, second, SETTINGS, room)
    assert got.ids == want.ids
    assert got.types == want.type_ids
    assert got.sequences == want.sequence_ids
    assert got.offsets == [tuple(pair) for pair in want.offsets]


def test_of_special_tokens_the_longest_counts() -> None:
    tokenizer = bert()
    tokenizer.add_special_tokens(["[A", "[AB]"])
    text = "c [AB] [A é"
    assert TEXT.wordpiece(text, None, json.loads(tokenizer.to_str()), 24).ids == tokenizer.encode(text).ids


@pytest.mark.parametrize(
    ("first", "second", "room", "kept"), [(3, 9, 8, (3, 5)), (9, 3, 8, (5, 3)), (9, 9, 7, (3, 4)), (2, 2, 9, (2, 2))]
)
def test_the_longer_text_is_cut_first(first: int, second: int, room: int, kept: tuple[int, int]) -> None:
    assert TEXT.longest_first(first, second, room) == kept
