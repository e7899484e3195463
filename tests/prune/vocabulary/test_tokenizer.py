"""A rewritten tokenizer splits the texts that it was trimmed for as the whole one does."""

from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer

from edgeopt.errors import RecipeError
from edgeopt.prune.vocabulary.tokenizer import kept_ids, rewritten
from tests.prune.vocabulary.texts import CORPUS, KINDS, document, trained


@pytest.mark.parametrize("kind", KINDS)
def test_the_texts_give_the_same_tokens_and_fewer_are_left(kind: str) -> None:
    whole, texts = trained(kind), CORPUS[:2]
    used = {one for text in texts for one in whole.encode(text).ids}
    kept = kept_ids(document(whole), used)
    small = Tokenizer.from_str(json.dumps(rewritten(document(whole), kept)))
    assert small.get_vocab_size() == len(kept) < whole.get_vocab_size()
    for text in texts:
        before, after = whole.encode(text), small.encode(text)
        assert after.tokens == before.tokens
        assert [kept[one] for one in after.ids] == before.ids
    assert small.padding is not None and small.id_to_token(small.padding["pad_id"]) == "[PAD]"


@pytest.mark.parametrize("kind", ["WordPiece", "BPE", "byte-level BPE", "Unigram"])
def test_other_words_are_still_split_into_known_pieces(kind: str) -> None:
    whole = trained(kind)
    used = {one for text in CORPUS[:1] for one in whole.encode(text).ids}
    kept = kept_ids(document(whole), used)
    small = Tokenizer.from_str(json.dumps(rewritten(document(whole), kept)))
    tokens = small.encode("unbelievable garden").tokens
    assert "[UNK]" not in tokens and len(tokens) > len(whole.encode("unbelievable garden").tokens)


def test_all_merges_that_make_a_used_token_stay_in_their_order() -> None:
    whole = document(trained("BPE"))
    ids = whole["model"]["vocab"]
    kept = kept_ids(whole, [ids["quickly"]])
    merges = [tuple(merge) for merge in rewritten(whole, kept)["model"]["merges"]]
    assert merges and merges == [tuple(merge) for merge in whole["model"]["merges"] if tuple(merge) in set(merges)]
    assert "".join(merges[-1]) == "quickly"


def test_a_kind_that_is_not_known_is_refused() -> None:
    with pytest.raises(RecipeError, match="'Other' cannot be rewritten"):
        kept_ids({"model": {"type": "Other", "vocab": {}}}, [])


def test_ids_in_older_post_processors_follow() -> None:
    found = {
        "model": {"type": "WordLevel", "vocab": {"a": 0, "[CLS]": 1, "b": 2, "[SEP]": 3, "word": 4}, "unk_token": None},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 1]},
        "added_tokens": [],
        "padding": None,
    }
    kept = kept_ids(found, [4])
    assert kept == [0, 1, 2, 3, 4]  # single characters stay
    found["model"]["vocab"]["another"] = 2  # type: ignore[index]
    del found["model"]["vocab"]["b"]  # type: ignore[attr-defined]
    kept = kept_ids(found, [4])
    assert kept == [0, 1, 3, 4]
    assert rewritten(found, kept)["post_processor"] == {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]}


def test_added_tokens_that_the_model_does_not_know_go() -> None:
    found = {
        "model": {"type": "WordPiece", "vocab": {"[PAD]": 0, "[UNK]": 1, "a": 2, "cat": 3}, "unk_token": "[UNK]"},
        "added_tokens": [{"id": 0, "content": "[PAD]"}, {"id": 4, "content": "<extra>"}],
    }
    assert rewritten(found, [0, 1, 2])["added_tokens"] == [{"id": 0, "content": "[PAD]"}]
    with pytest.raises(RecipeError, match="adds token 4 to each text"):
        rewritten({**found, "padding": {"pad_id": 4}}, [0, 1, 2])
