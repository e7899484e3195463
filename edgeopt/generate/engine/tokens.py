"""Text to tokens and back, with the package tokenizers alone.

Streaming. A token may be half a character (byte-level BPE) and a text is more than the sum of its tokens' texts
(SentencePiece drops the first space). So `Detokenizer` decodes a short window of tokens twice, without and with the new
token, and passes the difference on once it does not end in an unfinished character.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import FolderError, PromptError

_UNFINISHED = "\ufffd"
_MOST_HELD = 8
"""A character has at most 4 bytes, so after this many tokens the text is really not UTF-8, and passed on as it is."""


class Tokens:
    """The tokenizer of a model's folder."""

    def __init__(self, file: Path) -> None:
        try:
            from tokenizers import Tokenizer
        except ModuleNotFoundError as error:
            raise FolderError("reading texts needs the package tokenizers: pip install tokenizers") from error
        if not file.is_file():
            raise FolderError(f"{file.parent}: no tokenizer.json; copy the tokenizer files of the model into the folder")
        self.file = file
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(file))
        except Exception as error:  # tokenizers raises plain Exception
            raise FolderError(f"{file}: the package tokenizers cannot read it: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    @property
    def size(self) -> int:
        """The number of tokens, added ones included."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def check(self, vocabulary: int) -> None:
        """Refuse tokens that the model does not know: the tokenizer is another model's.

        Raises:
            FolderError: saying both numbers.
        """
        if self.size > vocabulary:
            raise FolderError(
                f"{self.file}: has {self.size} tokens, the model's vocabulary is {vocabulary}: they do not belong "
                "together; copy the tokenizer files of this model into the folder"
            )

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Return the tokens of `text`; `special`: with the ones that the model expects around a text.

        Raises:
            PromptError: the text holds half a character, such as a byte that is not UTF-8 becomes.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            place = f"character {error.start}"
            raise PromptError(f"the text is not UTF-8: {place} is half a character; write it in UTF-8") from error
        return list(self._tokenizer.encode(text, add_special_tokens=special).ids)

    def decode(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """Return the text of `tokens`; `special`: with the names of special tokens."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=not special))

    def id_of(self, token: str) -> int | None:
        """Return the id of a token by its name; None: there is no such token."""
        found = self._tokenizer.token_to_id(token)
        return None if found is None else int(found)

    def name_of(self, token: int) -> str:
        """Return the name of a token in the vocabulary."""
        return str(self._tokenizer.id_to_token(token))


def special_tokens(folder: Path) -> dict[str, str]:
    """Return the texts of special tokens in a folder, such as ``bos_token``: chat templates may use them."""
    found: dict[str, str] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        try:
            values = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        for key, value in values.items() if isinstance(values, dict) else ():
            text = value.get("content") if isinstance(value, Mapping) else value
            if key.endswith("_token") and isinstance(text, str):
                found[key] = text
    return found


class Detokenizer:
    """Turns a stream of tokens into a stream of texts that are whole UTF-8 characters."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._ids: list[int] = []
        self._start = 0
        self._read = 0

    def add(self, token: int) -> str:
        """Return the text that `token` completes; "" while a character is unfinished."""
        self._ids.append(token)
        before = self._tokens.decode(self._ids[self._start : self._read])
        after = self._tokens.decode(self._ids[self._start :])
        held = len(self._ids) - self._read
        if len(after) <= len(before) or (after.endswith(_UNFINISHED) and held < _MOST_HELD):
            return ""
        self._start, self._read = self._read, len(self._ids)
        return after[len(before) :]

    def flush(self) -> str:
        """Return what is left at the end; an unfinished character as U+FFFD."""
        before = self._tokens.decode(self._ids[self._start : self._read])
        after = self._tokens.decode(self._ids[self._start :])
        self._start, self._read = self._read, len(self._ids)
        return after[len(before) :]
