"""What the server answers: the OpenAI API's objects, whole or in pieces."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from edgeopt.generate.engine.stream import Answer, Stream, TokenProbability
from edgeopt.generate.engine.tokens import Tokens

_CALL = re.compile(r"<tool_call>\s*(\{.*?\})\s*(?:</tool_call>|$)", re.DOTALL)
_REASONS = {"stop": "stop", "length": "length", "time": "length", "cancelled": "stop"}


class Form:
    """Makes the objects of one answer: of a chat, or of a completion."""

    def __init__(self, model: str, *, chat: bool, tokens: Tokens, tools: bool = False) -> None:
        self.chat, self.tools = chat, tools
        self._tokens = tokens
        self._offsets: dict[int, int] = {}
        self._common: dict[str, Any] = {
            "id": ("chatcmpl-" if chat else "cmpl-") + secrets.token_hex(12),
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, streams: Sequence[Stream], echo: str = "") -> dict[str, Any]:
        """Return the complete answer."""
        choices = [self._choice(index, stream, echo) for index, stream in enumerate(streams)]
        kind = "chat.completion" if self.chat else "text_completion"
        return {**self._common, "object": kind, "choices": choices, "usage": usage(streams)}

    def answered(self, answer: Answer) -> dict[str, Any]:
        """Return the complete answer of a model that has no streams of its own to follow."""
        choice = {"index": 0, "text": answer.text, "logprobs": None, "finish_reason": _REASONS[answer.reason]}
        made = len(answer.tokens)
        counts = {"prompt_tokens": answer.prompt_tokens, "completion_tokens": made, "total_tokens": answer.prompt_tokens + made}
        return {**self._common, "object": "text_completion", "choices": [choice], "usage": counts}

    def _choice(self, index: int, stream: Stream, echo: str) -> dict[str, Any]:
        text = stream.answer().text
        if not self.chat:
            self._offsets[index] = len(echo)
            given = self._logprobs(index, text, stream.probabilities())
            return {"index": index, "text": echo + text, "logprobs": given, "finish_reason": reason(stream)}
        message, ended = self.message(text, stream)
        logprobs = self._content(stream.probabilities()) if stream.options.logprobs is not None else None
        return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": ended}

    def message(self, text: str, stream: Stream) -> tuple[dict[str, Any], str]:
        """Return the assistant's message and why it ended; calls of tools are taken out of its text."""
        calls = tool_calls(text) if self.tools else []
        if not calls:
            return {"role": "assistant", "content": text}, reason(stream)
        said = _CALL.sub("", text).strip()
        return {"role": "assistant", "content": said or None, "tool_calls": calls}, "tool_calls"

    def opening(self, index: int) -> dict[str, Any]:
        """Return the first piece of a chat's answer."""
        return self._piece({"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None})

    def piece(self, index: int, text: str, found: Sequence[TokenProbability]) -> dict[str, Any]:
        """Return a piece of the answer; `found` has the probabilities of its tokens, where they are asked for."""
        if not self.chat:
            return self._piece(
                {"index": index, "text": text, "logprobs": self._logprobs(index, text, found), "finish_reason": None}
            )
        delta = {"index": index, "delta": {"content": text}, "finish_reason": None}
        return self._piece(delta | ({"logprobs": self._content(found)} if found else {}))

    def calls(self, index: int, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return a piece with calls of tools."""
        numbered = [{**call, "index": place} for place, call in enumerate(message["tool_calls"])]
        delta = {"content": message["content"], "tool_calls": numbered}
        return self._piece({"index": index, "delta": delta, "finish_reason": None})

    def closing(self, index: int, ended: str) -> dict[str, Any]:
        """Return the last piece of a choice."""
        rest: dict[str, Any] = {"delta": {}} if self.chat else {"text": "", "logprobs": None}
        return self._piece({"index": index, **rest, "finish_reason": ended})

    def summary(self, streams: Sequence[Stream]) -> dict[str, Any]:
        """Return the piece after the last, with the usage."""
        return {**self._piece(), "usage": usage(streams)}

    def _piece(self, *choices: dict[str, Any]) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return {**self._common, "object": kind, "choices": list(choices)}

    def _content(self, found: Sequence[TokenProbability]) -> dict[str, Any]:
        def entry(token: int, logprob: float) -> dict[str, Any]:
            text = self._tokens.decode([token], special=True)
            return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

        content = [{**entry(one.token, one.logprob), "top_logprobs": [entry(*pair) for pair in one.top]} for one in found]
        return {"content": content, "refusal": None}

    def _logprobs(self, index: int, text: str, found: Sequence[TokenProbability]) -> dict[str, Any] | None:
        start = self._offsets.get(index, 0)
        self._offsets[index] = start + len(text)
        if not found:
            return None
        names = [self._tokens.decode([one.token], special=True) for one in found]
        return {
            "tokens": names,
            "token_logprobs": [one.logprob for one in found],
            "top_logprobs": [
                {self._tokens.decode([token], special=True): value for token, value in one.top} or None for one in found
            ],
            "text_offset": [start + len("".join(names[:place])) for place in range(len(names))],
        }


def reason(stream: Stream) -> str:
    """Return why a stream ended, in the API's words."""
    return _REASONS[stream.reason or "stop"]


def usage(streams: Sequence[Stream]) -> dict[str, Any]:
    """Return how many tokens were read and made."""
    prompt, made = len(streams[0].prompt), sum(len(stream.made) for stream in streams)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": made,
        "total_tokens": prompt + made,
        "prompt_tokens_details": {"cached_tokens": streams[0].reused},
    }


def tool_calls(text: str) -> list[dict[str, Any]]:
    """Return the calls of tools in a model's text, ``<tool_call>{"name": …, "arguments": …}</tool_call>``."""
    calls = []
    for found in _CALL.findall(text):
        try:
            values = json.loads(found)
        except (ValueError, RecursionError):
            continue
        if isinstance(values, dict) and isinstance(values.get("name"), str):
            arguments = json.dumps(values.get("arguments", values.get("parameters", {})), ensure_ascii=False)
            calls.append(
                {
                    "id": "call_" + secrets.token_hex(12),
                    "type": "function",
                    "function": {"name": values["name"], "arguments": arguments},
                }
            )
    return calls


def error_body(message: str, *, kind: str = "invalid_request_error", code: str | None = None) -> dict[str, Any]:
    """Return the API's object for an error."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
