"""Calls of tools in a model's text."""

from __future__ import annotations

import json

from edgeopt.generate.server.answers import tool_calls


def test_calls_are_found_and_their_arguments_are_json_text() -> None:
    text = 'Let me see. <tool_call>\n{"name": "add", "arguments": {"a": 1, "b": "ü"}}\n</tool_call>'
    text += '<tool_call>{"name": "now"}</tool_call>'
    calls = tool_calls(text)
    assert [call["function"]["name"] for call in calls] == ["add", "now"]
    assert json.loads(calls[0]["function"]["arguments"]) == {"a": 1, "b": "ü"}
    assert calls[1]["function"]["arguments"] == "{}"
    assert len({call["id"] for call in calls}) == 2


def test_what_is_no_call_is_none() -> None:
    assert tool_calls("<tool_call>{broken</tool_call> <tool_call>[1]</tool_call> plain") == []
