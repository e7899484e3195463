"""Tokenizers of every kind, trained on a few sentences."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SENTENCE = "the a small red green fox jumps runs over lazy dogs quickly slowly mouse house horse quiet garden unbelievable"
WORDS = SENTENCE.split()
CORPUS = [" ".join(WORDS[(place * step) % len(WORDS)] for place in range(1, 9)) for step in range(1, 18)]
KINDS = ("WordPiece", "BPE", "byte-level BPE", "Unigram", "WordLevel")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def trained(kind: str) -> Tokenizer:
    """Return a tokenizer with special tokens around each text."""
    if kind == "WordPiece":
        made, trainer = (
            Tokenizer(models.WordPiece(unk_token="[UNK]")),
            trainers.WordPieceTrainer(vocab_size=150, special_tokens=SPECIAL),
        )
    elif kind == "Unigram":
        made = Tokenizer(models.Unigram())
        trainer = trainers.UnigramTrainer(vocab_size=90, special_tokens=SPECIAL, unk_token="[UNK]")
    elif kind == "WordLevel":
        made, trainer = Tokenizer(models.WordLevel(unk_token="[UNK]")), trainers.WordLevelTrainer(special_tokens=SPECIAL)
    else:
        made = Tokenizer(models.BPE(unk_token=None if "byte" in kind else "[UNK]"))
        alphabet = pre_tokenizers.ByteLevel.alphabet() if "byte" in kind else []
        trainer = trainers.BpeTrainer(
            vocab_size=400 if "byte" in kind else 150, special_tokens=SPECIAL, initial_alphabet=alphabet
        )
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.ByteLevel() if "byte" in kind else pre_tokenizers.Whitespace()
    made.train_from_iterator(CORPUS, trainer)
    if "byte" in kind:
        made.decoder = decoders.ByteLevel()
    around = [(name, made.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=around)
    made.enable_padding(pad_id=made.token_to_id("[PAD]"))
    return made


def document(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the content of its tokenizer.json."""
    return dict(json.loads(tokenizer.to_str()))
