"""What the C++ of generated projects reads of a tokenizer.json, beside the kinds that only the package tokenizers knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_READ = {
    *("BPE", "Unigram", "WordPiece"),
    *("NFC", "NFD", "NFKC", "NFKD", "BertNormalizer", "Lowercase", "StripAccents", "Strip", "Prepend", "Replace"),
    *("Precompiled", "Nmt", "ByteLevel", "Metaspace", "Whitespace", "WhitespaceSplit", "Split", "Digits", "Punctuation"),
    *("BertPreTokenizer", "TemplateProcessing", "RobertaProcessing", "BertProcessing"),
}
"""Types of models, normalizers, pre-tokenizers and post-processors."""


def unread_part(settings: Mapping[str, Any]) -> str | None:
    """Return what of a tokenizer.json the C++ does not read, in words; None: it reads all of it."""
    processor = settings.get("post_processor") or {}
    after = processor.get("processors", [processor] if processor else [])
    before = (*steps_of(settings.get("normalizer")), *steps_of(settings.get("pre_tokenizer")))
    # the first files of GPT-2 and RoBERTa do not state the type of their model
    kinds = [part.get("type", "a model of no stated type") for part in (settings["model"], *before, *after)]
    return next((f"a tokenizer with {kind}" for kind in kinds if kind not in _READ), None)


def steps_of(step: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of a normalizer or pre-tokenizer, those of a sequence one by one."""
    if step is None:
        return
    if step["type"] != "Sequence":
        yield step
    for inner in [*step.get("normalizers", []), *step.get("pretokenizers", [])]:
        yield from steps_of(inner)
