"""Answers of a given form: a JSON schema, a grammar (Lark) or a regular expression, through the package llguidance.

Before each choice the grammar says which tokens may follow; all others are impossible. An answer that ends is valid.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from .arrays import Array
from .errors import FolderError, PromptError
from .tokens import Tokens

Kind = Literal["json_schema", "lark", "regex"]
_ANY_OBJECT: Mapping[str, Any] = {"type": "object"}


@dataclass(frozen=True)
class Grammar:
    """The form that an answer must have."""

    kind: Kind
    text: str

    @classmethod
    def json_schema(cls, schema: Mapping[str, Any] | str | None) -> Grammar:
        """Return the grammar of JSON that fits `schema`; None: any object."""
        values = _ANY_OBJECT if schema is None else schema
        return cls("json_schema", values if isinstance(values, str) else json.dumps(values))


class Grammars:
    """Makes constraints for one tokenizer; what is common to all is made once."""

    def __init__(self, tokens: Tokens, *, eos: tuple[int, ...], vocabulary: int) -> None:
        try:
            import llguidance
        except ModuleNotFoundError as error:
            raise FolderError("answers of a given form need the package llguidance: pip install llguidance") from error
        self._library: Any = llguidance
        self._vocabulary = vocabulary
        text = tokens.file.read_text(encoding="utf-8")
        try:
            self._tokenizer: Any = llguidance.LLTokenizer(
                text, n_vocab=max(vocabulary, tokens.size), eos_token=list(eos) or None
            )
        except Exception as error:  # (what the library raises has no common base)
            said = " ".join(str(error).split())[:200]
            raise FolderError(f"{tokens.file}: llguidance does not read it, so no form can be asked for: {said}") from error

    def constraint(self, grammar: Grammar) -> Constraint:
        """Return a constraint for one answer.

        Raises:
            PromptError: the schema or the grammar is wrong.
        """
        matcher = self._library.LLMatcher
        make = {"json_schema": "grammar_from_json_schema", "lark": "grammar_from_lark", "regex": "grammar_from_regex"}[
            grammar.kind
        ]
        try:
            text = getattr(matcher, make)(grammar.text)
        except (ValueError, TypeError) as error:
            raise PromptError(f"the {grammar.kind} cannot be read: {error}") from error
        made = matcher(self._tokenizer, text)
        if made.is_error():
            first = (made.get_error().strip().splitlines() or ["no reason was given"])[0]
            raise PromptError(f"the {grammar.kind} cannot be read: {first}")
        return Constraint(made, self._vocabulary)


class Choices(Protocol):
    """Which tokens may follow in one answer."""

    def allowed(self) -> Array:
        """Return for each token of the model whether it may follow, [vocabulary] bool."""
        ...

    def accept(self, token: int) -> bool:
        """Follow with `token`; return whether the answer is complete and nothing may follow."""
        ...


class Constraint:
    """Which tokens may follow in an answer that a grammar describes."""

    def __init__(self, matcher: Any, vocabulary: int) -> None:
        self._matcher, self._vocabulary = matcher, vocabulary

    def allowed(self) -> Array:
        """Return for each token of the model whether it may follow, [vocabulary] bool."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        return np.unpackbits(bits, bitorder="little")[: self._vocabulary].astype(bool)

    def accept(self, token: int) -> bool:
        """Follow with `token`; return whether the answer is complete and nothing may follow."""
        self._matcher.consume_token(token)
        return bool(self._matcher.is_stopped())
