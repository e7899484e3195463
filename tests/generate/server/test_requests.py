"""What clients send."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from edgeopt.generate.server.requests import ChatRequest, CompletionRequest, Message


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


def test_a_key_that_is_nearly_an_option_is_refused() -> None:
    messages = [{"role": "user", "content": "x"}]
    for wrong, near in {"repetition_penality": "repetition_penalty", "temprature": "temperature", "top_kk": "top_k"}.items():
        with pytest.raises(ValidationError, match=rf"unknown option '{wrong}' \(did you mean '{near}'\?\)"):
            ChatRequest.model_validate({"messages": messages, wrong: 1})
    for other in ("top_logprobs", "max_completion_tokens", "min_tokens", "user", "service_tier"):
        CompletionRequest.model_validate({"prompt": "x", other: 1})
