"""Texts become token ids: BERT's WordPiece in plain Python, with character offsets; other tokenizers by `tokenizers`."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from . import MissingPackageError
from .decoding import Tokens

Raw = Union[str, Sequence[str]]
_CONTROLS = {"Cc", "Cf", "Co", "Cs"}
_CHINESE = re.compile(
    "([\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b81f\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f])"
)


@dataclass
class Encoded:
    """The tokens of a text (or pair): ids, segments, which text each is from (None: special), character offsets."""

    ids: List[int]
    types: List[int]
    sequences: List[Optional[int]]
    offsets: List[Tuple[int, int]]


class Tokenizer:
    """A tokenizer.json: WordPiece by this file, any other kind by the package tokenizers."""

    def __init__(self, path: str, max_length: int) -> None:
        """Read the file at `path`.

        Raises:
            ValueError: it cannot be read.
            MissingPackageError: it needs the package tokenizers, which is not installed.
        """
        self._max_length = max_length
        with open(path, encoding="utf-8") as file:
            self._settings: Dict[str, Any] = json.load(file)
        self._library = None if is_wordpiece(self._settings) else _library(path, max_length)

    def encode(self, text: Raw) -> Encoded:
        """Return the tokens of a text, or of a pair of texts."""
        first, second = (text, None) if isinstance(text, str) else (text[0], text[1])
        if self._library is None:
            return wordpiece(first, second, self._settings, self._max_length)
        found = self._library.encode(first, second)
        return Encoded(list(found.ids), list(found.type_ids), list(found.sequence_ids), [tuple(pair) for pair in found.offsets])

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, without special tokens."""
        if self._library is not None:
            return str(self._library.decode(list(ids), skip_special_tokens=True))
        special = {token["id"] for token in self._settings["added_tokens"] if token["special"]}
        words = {number: word for word, number in self._settings["model"]["vocab"].items()}
        prefix = self._settings["model"]["continuing_subword_prefix"]
        return " ".join(words.get(number, "") for number in ids if number not in special).replace(" " + prefix, "")


def token_input(encoded: Sequence[Encoded], steps: Mapping[str, Any], inputs: Sequence[Mapping[str, Any]]) -> Dict[str, Any]:
    """Return ids, attention mask and segments [batch, length] by input name, padded at the end to the longest text.

    Where the model's length is fixed, to that length.
    """
    shapes = {tensor["name"]: tensor["shape"] for tensor in inputs}
    shape = shapes.get(steps["input_ids"], [])
    longest = max(len(entry.ids) for entry in encoded)
    length = shape[-1] if shape and isinstance(shape[-1], int) and shape[-1] > 0 else longest
    dtypes = {tensor["name"]: tensor["dtype"] for tensor in inputs}
    feeds = {}
    for key, rows, fill in (
        ("input_ids", [entry.ids for entry in encoded], steps["padding"]),
        ("attention_mask", [[1] * len(entry.ids) for entry in encoded], 0),
        ("token_type_ids", [entry.types for entry in encoded], 0),
    ):
        name = steps[key]
        if name in dtypes:
            feeds[name] = np.array([list(row) + [fill] * (length - len(row)) for row in rows], dtypes[name])
    return feeds


def tokens_of(text: Raw, encoded: Encoded) -> Tokens:
    """Return what decoding wants to know about a text's tokens; offsets are into the last text of a pair."""
    return Tokens(text if isinstance(text, str) else text[-1], encoded.offsets, encoded.sequences)


def _library(path: str, max_length: int) -> Any:
    try:
        from tokenizers import Tokenizer as Library
    except ImportError as error:
        raise MissingPackageError(f"{path}: not BERT's; it needs the package tokenizers: pip install tokenizers") from error
    tokenizer = Library.from_file(path)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer


def is_wordpiece(settings: Mapping[str, Any]) -> bool:
    """Say whether a tokenizer.json is BERT's, which this file follows by itself."""
    kinds = [(settings.get(part) or {}).get("type") for part in ("normalizer", "pre_tokenizer", "model", "post_processor")]
    plain = not any(token["normalized"] or token["lstrip"] or token["rstrip"] for token in settings["added_tokens"])
    return plain and kinds == ["BertNormalizer", "BertPreTokenizer", "WordPiece", "TemplateProcessing"]


Piece = Tuple[int, int, int]
"""Token id, and the characters (start, end) it is of."""


def wordpiece(first: str, second: Optional[str], settings: Mapping[str, Any], max_length: int) -> Encoded:
    """Return the tokens of one or two texts as BERT's tokenizer does, cut to `max_length`, the longer text first."""
    processor = settings["post_processor"]
    template = processor["single"] if second is None else processor["pair"]
    known = processor["special_tokens"]
    texts = {"A": _pieces_of(first, settings), "B": [] if second is None else _pieces_of(second, settings)}
    room = max_length - sum(len(known[item["SpecialToken"]["id"]]["ids"]) for item in template if "SpecialToken" in item)
    sizes = longest_first(len(texts["A"]), len(texts["B"]), max(room, 0)) if second is not None else (max(room, 0), 0)
    encoded = Encoded([], [], [], [])
    for item in template:
        if "SpecialToken" in item:
            for number in known[item["SpecialToken"]["id"]]["ids"]:
                _append(encoded, (number, 0, 0), item["SpecialToken"]["type_id"], None)
            continue
        name = item["Sequence"]["id"]
        for piece in texts[name][: sizes[0] if name == "A" else sizes[1]]:
            _append(encoded, piece, item["Sequence"]["type_id"], 0 if name == "A" else 1)
    return encoded


def longest_first(first: int, second: int, room: int) -> Tuple[int, int]:
    """Return how many tokens two texts keep in `room`: the longer one is cut first, then both to half."""
    short, long = sorted((first, second))
    if short + long > room:
        long = max(short, room - short)
        if short + long > room:
            short, long = room // 2, room // 2 + room % 2
    return (short, long) if first <= second else (long, short)


def _append(encoded: Encoded, piece: Piece, kind: int, sequence: Optional[int]) -> None:
    encoded.ids.append(piece[0])
    encoded.types.append(kind)
    encoded.sequences.append(sequence)
    encoded.offsets.append((piece[1], piece[2]))


def _pieces_of(text: str, settings: Mapping[str, Any]) -> List[Piece]:
    special = {token["content"]: token["id"] for token in settings["added_tokens"]}
    words = sorted(special, key=len, reverse=True)  # (one may begin as another does)
    parts = re.split("(" + "|".join(map(re.escape, words)) + ")", text) if special else [text]
    found: List[Piece] = []
    start = 0
    for part in parts:
        if part in special:
            found.append((special[part], start, start + len(part)))
        else:
            for word in bert_words(part, settings["normalizer"]):
                found += [(number, start + a, start + b) for number, a, b in pieces(word, settings["model"])]
        start += len(part)
    return found


Char = Tuple[str, int]
"""A character after normalisation, and the place of the one it comes from."""


def bert_words(text: str, normalizer: Mapping[str, Any]) -> List[List[Char]]:
    """Return the words and single punctuation marks of a text, cleaned, in lower case and without accents if so trained.

    Of the characters that came with Unicode 9 (2016) and later, a few hundred are classed otherwise by the package tokenizers.
    """
    strip = normalizer["strip_accents"]
    without_accents = normalizer["lowercase"] if strip is None else strip
    words: List[List[Char]] = [[]]
    for place, original in enumerate(text):
        char = _cleaned(original) if normalizer["clean_text"] else original
        if not char:
            continue
        alone = bool(normalizer["handle_chinese_chars"] and _CHINESE.match(char))
        if without_accents:
            char = "".join(part for part in unicodedata.normalize("NFD", char) if unicodedata.category(part) != "Mn")
        if normalizer["lowercase"]:
            char = "".join(part.lower() for part in char)
        for part in char:
            if part.isspace():
                words.append([])
            elif alone or is_punctuation(part):
                words += [[(part, place)], []]
            else:
                words[-1].append((part, place))
        if alone:
            words.append([])
    return [word for word in words if word]


def _cleaned(char: str) -> str:
    if char not in "\t\n\r" and (char == "\ufffd" or unicodedata.category(char) in _CONTROLS):
        return ""
    return " " if char.isspace() else char


def is_punctuation(char: str) -> bool:
    """Say whether a character stands alone: Unicode's punctuation, and ASCII's symbols such as "$"."""
    return unicodedata.category(char)[0] == "P" or (
        char.isascii() and char.isprintable() and not char.isalnum() and char != " "
    )


def pieces(word: Sequence[Char], model: Mapping[str, Any]) -> List[Piece]:
    """Return the longest known pieces, from the left, that make up the word; the unknown token if there are none."""
    vocabulary, text = model["vocab"], "".join(char for char, _ in word)
    unknown = [(vocabulary[model["unk_token"]], word[0][1], word[-1][1] + 1)]
    if len(text) > model["max_input_chars_per_word"]:
        return unknown
    found: List[Piece] = []
    start = 0
    while start < len(text):
        prefix = model["continuing_subword_prefix"] if start else ""
        end = next((end for end in range(len(text), start, -1) if prefix + text[start:end] in vocabulary), None)
        if end is None:
            return unknown
        found.append((vocabulary[prefix + text[start:end]], word[start][1], word[end - 1][1] + 1))
        start = end
    return found
