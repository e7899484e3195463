"""What clients send: the OpenAI API's requests, as far as this server answers them.

Unknown keys are ignored, since clients send some that only name who asks; one that is nearly a known one is refused.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

_NEARLY = 0.85


class Request(BaseModel):
    """What all requests for text have in common."""

    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=100)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0)
    min_p: float | None = Field(default=None, ge=0, le=1)
    repetition_penalty: float | None = Field(default=None, gt=0, le=100)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    seed: int | None = None
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    logit_bias: dict[int, Annotated[float, Field(ge=-100, le=100)]] | None = None
    n: int = Field(default=1, ge=1, le=16)
    stream: bool = False
    stream_options: StreamOptions | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_misspelling(cls, values: Any) -> Any:
        """Refuse a key that is nearly the name of an option."""
        for key in values if isinstance(values, dict) else ():
            near = get_close_matches(str(key), cls.model_fields, n=1, cutoff=_NEARLY)
            if near and key not in cls.model_fields:
                raise ValueError(f"unknown option '{key}' (did you mean '{near[0]}'?)")
        return values


class StreamOptions(BaseModel):
    """Options of a streamed answer."""

    include_usage: bool = False


class TextPart(BaseModel):
    """A part of a message."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One message of a chat."""

    model_config = ConfigDict(extra="allow")

    role: Annotated[str, Field(min_length=1, max_length=64)]
    content: str | list[TextPart] | None = None

    def plain(self) -> dict[str, Any]:
        """Return the message for a chat template: its content is one text."""
        values = self.model_dump(exclude_none=True)
        parts = self.content
        values["content"] = "".join(part.text for part in parts) if isinstance(parts, list) else parts or ""
        return values


class Schema(BaseModel):
    """A named JSON schema."""

    name: str = "answer"
    schema_: dict[str, Any] = Field(alias="schema")


class ResponseFormat(BaseModel):
    """The form that the answer must have; `grammar` and `regex` are additions of this server."""

    type: Literal["text", "json_object", "json_schema", "grammar", "regex"]
    json_schema: Schema | None = None
    grammar: str | None = None
    regex: str | None = None


class Function(BaseModel):
    """A function that the model may call."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[str, Field(min_length=1, max_length=128)]
    parameters: dict[str, Any] = Field(default_factory=lambda: {"type": "object"})


class Tool(BaseModel):
    """A tool: always a function."""

    type: Literal["function"] = "function"
    function: Function


class NamedFunction(BaseModel):
    """The name of a function."""

    name: str


class NamedTool(BaseModel):
    """The function that the model must call."""

    type: Literal["function"] = "function"
    function: NamedFunction


class ChatRequest(Request):
    """``POST /v1/chat/completions``."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool = False
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None


class CompletionRequest(Request):
    """``POST /v1/completions``."""

    prompt: str | list[int] | list[str]
    logprobs: int | None = Field(default=None, ge=0, le=20)
    echo: bool = False


class EmbeddingRequest(BaseModel):
    """``POST /v1/embeddings``."""

    model: str | None = None
    input: str | Annotated[list[str], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1)
