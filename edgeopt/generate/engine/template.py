"""Chat templates: messages to a prompt, rendered as transformers renders them.

A template is a Jinja text that came with the model, so it is an untrusted program: it runs in a sandbox with limits (`sandbox`)
and sees plain JSON values only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .errors import FolderError, PromptError
from .sandbox import environment, rendered
from .tokens import special_tokens

TEMPLATE_FILE = "chat_template.jinja"
_REASONING = ("reasoning_content", "thinking", "reasoning")


class ChatTemplate:
    """The chat template of a model."""

    def __init__(self, text: str, *, special: Mapping[str, str] | None = None) -> None:
        if find_spec("jinja2") is None:
            raise FolderError("chat templates need the package jinja2: pip install jinja2")
        self.text = text
        self._special = dict(special or {})
        try:
            self._template = environment().from_string(text)
        except Exception as error:  # (an untrusted program: too deep, too large, …)
            raise FolderError(f"the chat template cannot be read: {_first_line(error)}") from error

    @property
    def takes_tools(self) -> bool:
        """Whether the template shows tools to the model."""
        return "tools" in self.text

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        answer: bool = True,
        **variables: Any,
    ) -> str:
        """Return the prompt for `messages`.

        Args:
            messages: each with a ``role`` and a ``content``.
            tools: the JSON schemas of functions that the model may call.
            answer: end with the beginning of the assistant's answer.
            variables: more variables of the template.

        Raises:
            PromptError: the template refuses the messages, takes too long or makes too much.
        """
        try:
            given = {
                **self._special,
                **{key: _plain(value) for key, value in variables.items()},
                "messages": [_with_reasoning(_plain(message)) for message in messages],
                "tools": _plain(tools) if tools is not None else None,
                "documents": None,
                "add_generation_prompt": answer,
            }
        except RecursionError as error:
            raise PromptError("the messages or tools are nested too deeply") from error
        try:
            return rendered(self._template, given)
        except Exception as error:  # (an untrusted program may divide by zero, recurse without end, …)
            raise PromptError(f"the chat template refuses the messages: {_first_line(error)}") from error


def read_template(folder: Path, given: Path | None = None) -> ChatTemplate | None:
    """Return the chat template of a model's folder, or that in the file `given`; None: the folder has none."""
    special = special_tokens(folder)
    if given is not None:
        try:
            return ChatTemplate(given.read_text(encoding="utf-8"), special=special)
        except (OSError, UnicodeDecodeError) as error:
            raise FolderError(f"{given}: cannot be read as a chat template: {error}") from error
    if (folder / TEMPLATE_FILE).is_file():
        return read_template(folder, folder / TEMPLATE_FILE)
    for name in ("tokenizer_config.json", "chat_template.json"):
        try:
            values = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        text = _default(values.get("chat_template")) if isinstance(values, dict) else None
        if text is not None:
            return ChatTemplate(text, special=special)
    return None


def _default(value: Any) -> str | None:
    """Return the template in a tokenizer's configuration: a text, or the one called "default" of several."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        named = {item.get("name"): item.get("template") for item in value if isinstance(item, dict)}
        return named.get("default")
    return None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _plain(value: Any) -> Any:
    """Return `value` made of JSON's types alone: the methods of other objects could do anything."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return f"<{type(value).__name__}>"


def _with_reasoning(message: Any) -> Any:
    """Return `message` with its reasoning under each name that templates know."""
    if not isinstance(message, dict):
        raise PromptError(f"a message must be an object with a role and a content, not {message!r}")
    reasoning = next((message[key] for key in _REASONING if message.get(key) is not None), None)
    return message if reasoning is None else {"thinking": reasoning, **message, "reasoning_content": reasoning}
