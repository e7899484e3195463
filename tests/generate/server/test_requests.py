"""What clients send."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from edgeopt.generate.server.requests import ChatRequest, Message


def test_parts_of_a_message_are_one_text_and_other_keys_stay() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    message = Message.model_validate({"role": "user", "content": parts, "name": "me"})
    assert message.plain() == {"role": "user", "content": "ab", "name": "me"}
    assert Message.model_validate({"role": "assistant", "content": None}).plain()["content"] == ""


def test_unknown_keys_are_ignored_and_impossible_values_refused() -> None:
    messages = [{"role": "user", "content": "x"}]
    assert ChatRequest.model_validate({"messages": messages, "user": "me", "store": False}).n == 1
    for wrong in ({"top_p": 0}, {"stop": ["x"] * 17}, {"logit_bias": {"a": 1}}, {"seed": "x"}, {"messages": "x"}):
        with pytest.raises(ValidationError):
            ChatRequest.model_validate({"messages": messages, **wrong})
