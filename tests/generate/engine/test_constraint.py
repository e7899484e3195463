"""Answers of a given form."""

from __future__ import annotations

import json
import re

import pytest

from edgeopt.generate.engine.constraint import Grammar
from edgeopt.generate.engine.engine import Engine
from edgeopt.generate.engine.errors import PromptError
from edgeopt.generate.engine.sampling import Sampling

pytest.importorskip("llguidance")


def test_a_schema_makes_the_answer_valid_json(engine: Engine) -> None:
    schema = {
        "type": "object",
        "properties": {"count": {"type": "integer", "minimum": 0, "maximum": 99}, "ok": {"type": "boolean"}},
        "required": ["count", "ok"],
        "additionalProperties": False,
    }
    for seed in range(5):
        options = Sampling(max_tokens=200, temperature=1.0, seed=seed)
        answer = engine.generate("json: ", options, grammar=Grammar.json_schema(schema))
        values = json.loads(answer.text)
        assert answer.reason == "stop"
        assert set(values) == {"count", "ok"}
        assert 0 <= values["count"] <= 99


def test_a_wrong_schema_is_refused(engine: Engine) -> None:
    with pytest.raises(PromptError, match="json_schema cannot be read"):
        engine.generate("x", grammar=Grammar.json_schema({"type": "nonsense"}))


def test_any_object_where_no_schema_is_given(engine: Engine) -> None:
    answer = engine.generate("json: ", Sampling(max_tokens=120, temperature=1.0, seed=1), grammar=Grammar.json_schema(None))
    assert answer.text.lstrip().startswith("{")


def test_a_regular_expression_and_a_grammar(engine: Engine) -> None:
    answer = engine.generate("n: ", Sampling(max_tokens=40), grammar=Grammar("regex", "[0-9]{3}-[a-f]{2}"))
    assert re.fullmatch("[0-9]{3}-[a-f]{2}", answer.text)
    lark = 'start: "yes" | "no, " NAME\nNAME: /[a-z]{2,4}/'
    answer = engine.generate("n: ", Sampling(max_tokens=40, temperature=1.0, seed=2), grammar=Grammar("lark", lark))
    assert re.fullmatch("yes|no, [a-z]{2,4}", answer.text)


def test_speculation_keeps_to_the_form(engine: Engine) -> None:
    grammar = Grammar("regex", "(abab){4,9}")
    plain = engine.generate("ab", Sampling(max_tokens=60), grammar=grammar)
    drafted = engine.generate("ab", Sampling(max_tokens=60), grammar=grammar, speculate=True)
    assert drafted.tokens == plain.tokens
    assert re.fullmatch("(abab){4,9}", drafted.text)
