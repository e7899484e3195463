"""Requests for text: from what a client sent to jobs of the worker, and from their tokens to answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from edgeopt.errors import EdgeoptError
from edgeopt.generate.engine.constraint import Grammar
from edgeopt.generate.engine.engine import Engine
from edgeopt.generate.engine.errors import PromptError
from edgeopt.generate.engine.sampling import Sampling
from edgeopt.generate.engine.stream import Stream
from edgeopt.generate.server.answers import Form
from edgeopt.generate.server.config import ServeConfig
from edgeopt.generate.server.requests import ChatRequest, CompletionRequest, NamedTool, Request, Tool
from edgeopt.generate.server.worker import Job, Worker

_POLL_S = 0.25


class TimeLimitError(EdgeoptError):
    """A request did not get a token within the time limit."""


class Texts:
    """The language model of a server."""

    def __init__(self, engine: Engine, worker: Worker, config: ServeConfig, *, name: str) -> None:
        self._engine, self._worker, self._config, self._name = engine, worker, config, name

    def chat(self, request: ChatRequest) -> Answering:
        """Return the answer to a chat, queued."""
        tools = request.tools if request.tools and request.tool_choice != "none" else None
        template = self._engine.template
        if tools and (template is None or not template.takes_tools):
            raise PromptError("the chat template of this model knows no tools: leave 'tools' out")
        messages = [message.plain() for message in request.messages]
        prompt = self._engine.prompt(messages, tools=[tool.model_dump() for tool in tools] if tools else None)
        options = self._options(
            request,
            prompt,
            most=request.max_completion_tokens or request.max_tokens,
            logprobs=(request.top_logprobs or 0) if request.logprobs else None,
        )
        form = Form(self._name, chat=True, tokens=self._engine.tokens, tools=bool(tools))
        return self._queued(request, prompt, options, form, grammar=_grammar(request, tools))

    def complete(self, request: CompletionRequest) -> Answering:
        """Return the continuation of a text, queued."""
        given = request.prompt
        if isinstance(given, list) and given and isinstance(given[0], str):
            if len(given) > 1:
                raise PromptError(f"'prompt' has {len(given)} texts: send one request for each")
            given = str(given[0])
        prompt = self._engine.tokens.encode(given) if isinstance(given, str) else self._engine.known(given)
        echo = (given if isinstance(given, str) else self._engine.tokens.decode(prompt)) if request.echo else ""
        options = self._options(request, prompt, most=request.max_tokens, logprobs=request.logprobs)
        return self._queued(request, prompt, options, Form(self._name, chat=False, tokens=self._engine.tokens), echo=echo)

    def _options(self, request: Request, prompt: Sequence[int], *, most: int | None, logprobs: int | None) -> Sampling:
        check_lengths(self._config, len(prompt), most)
        left = self._engine.described.context - len(prompt)
        return sampling_of(self._config, request, most=max(1, min(most or self._config.max_tokens, left)), logprobs=logprobs)

    def _queued(
        self,
        request: Request,
        prompt: list[int],
        options: Sampling,
        form: Form,
        *,
        grammar: Grammar | None = None,
        echo: str = "",
    ) -> Answering:
        most = self._config.queue + self._config.streams
        if request.n > most:
            raise PromptError(f"n is {request.n}: this server makes at most {most} answers at once")
        deadline = time.perf_counter() + self._config.time_limit_s
        streams = []
        for number in range(request.n):
            seeded = replace(options, seed=options.seed + number) if options.seed is not None else options
            streams.append(
                self._engine.request(prompt, seeded, grammar=grammar, speculate=self._config.speculate, deadline=deadline)
            )
        return Answering(self._worker, streams, form, echo=echo)


class Answering:
    """The streams of one request while they are answered; `cancel` when the client has gone."""

    def __init__(self, worker: Worker, streams: list[Stream], form: Form, *, echo: str) -> None:
        self._worker, self._form, self._echo = worker, form, echo
        self._changed = asyncio.Event()
        loop = asyncio.get_running_loop()

        def changed() -> None:
            loop.call_soon_threadsafe(self._changed.set)

        self._jobs = [Job(stream, changed) for stream in streams]
        self._streams = streams
        worker.submit(self._jobs)

    def cancel(self) -> None:
        """Free the rows of the batch before the next token."""
        for job in self._jobs:
            if not job.done:
                self._worker.cancel(job)

    async def whole(self, gone: Callable[[], Awaitable[bool]]) -> dict[str, Any]:
        """Return the complete answer; give up when `gone` says that the client is."""
        try:
            while not all(job.done for job in self._jobs):
                if not await self._wait() and await gone():
                    break
            self._raise()
        finally:
            self.cancel()
        return self._form.whole(self._streams, self._echo)

    async def begun(self) -> None:
        """Wait for the first token, so that what is wrong before it has a status code of its own."""
        while not any(job.done or job.stream.made for job in self._jobs):
            await self._wait()
        self._raise()

    async def pieces(self, *, summary: bool) -> AsyncIterator[str]:
        """Yield the events of a streamed answer."""
        try:
            if self._form.chat:
                for index in range(len(self._jobs)):
                    yield _event(self._form.opening(index))
            elif self._echo:
                for index in range(len(self._jobs)):
                    yield _event(self._form.piece(index, self._echo, []))
            told = [0] * len(self._jobs)
            open_ones = set(range(len(self._jobs)))
            while open_ones:
                for index in sorted(open_ones):
                    job = self._jobs[index]
                    done = job.done
                    for event in self._fresh(index, job, told, done=done):
                        yield event
                    if done:
                        open_ones.discard(index)
                if open_ones:
                    await self._wait()
            if summary:
                yield _event(self._form.summary(self._streams))
            yield "data: [DONE]\n\n"
        finally:
            self.cancel()

    def _fresh(self, index: int, job: Job, told: list[int], *, done: bool) -> list[str]:
        """Return the events for what a job made since the last call."""
        form, stream = self._form, job.stream
        if job.error is not None:
            return [_event({"error": {"message": str(job.error), "type": "server_error", "code": None}})]
        if form.tools:  # a call is told when it is complete
            if not done:
                return []
            message, ended = form.message(stream.answer().text, stream)
            first = form.calls(index, message) if ended == "tool_calls" else form.piece(index, message["content"], [])
            return [_event(first), _event(form.closing(index, ended))]
        piece, found = stream.read(), stream.probabilities(told[index])
        told[index] += len(found)
        events = [_event(form.piece(index, piece, found))] if piece or found else []
        return [*events, _event(form.closing(index, form.message("", stream)[1]))] if done else events

    async def _wait(self) -> bool:
        """Wait for new tokens for a moment; return whether there are any."""
        try:
            await asyncio.wait_for(self._changed.wait(), _POLL_S)
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    def _raise(self) -> None:
        for job in self._jobs:
            if job.error is not None:
                raise job.error
            if job.stream.reason == "time" and not job.stream.made:
                raise TimeLimitError("no token within the time limit of this server; it is busy, try again later")


def check_lengths(config: ServeConfig, prompt: int, most: int | None) -> None:
    """Check the tokens of a prompt, and those that an answer may have at most, against the server's limits.

    Raises:
        PromptError: there are more.
    """
    limit = config.max_prompt_tokens
    if limit is not None and prompt > limit:
        raise PromptError(f"the prompt has {prompt} tokens, this server takes at most {limit}")
    if most is not None and most > config.max_tokens:
        raise PromptError(f"max_tokens is {most}, this server gives at most {config.max_tokens}")


def sampling_of(config: ServeConfig, request: Request, *, most: int, logprobs: int | None) -> Sampling:
    """Return how the tokens of an answer are chosen; there are at most `most`."""
    names = ("top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias")
    given = {name: getattr(request, name) for name in names if getattr(request, name) is not None}
    return Sampling(
        temperature=config.temperature if request.temperature is None else request.temperature,
        max_tokens=most,
        seed=None if request.seed is None else request.seed & 0xFFFFFFFF,
        stop=(request.stop,) if isinstance(request.stop, str) else tuple(request.stop or ()),
        logprobs=logprobs,
        **given,
    )


def _event(values: dict[str, Any]) -> str:
    return f"data: {json.dumps(values, ensure_ascii=False)}\n\n"


def _grammar(request: ChatRequest, tools: list[Tool] | None) -> Grammar | None:
    """Return the form that the answer must have."""
    choice, wanted = request.tool_choice, request.response_format
    if tools and (choice == "required" or isinstance(choice, NamedTool)):
        return _call_grammar([tool for tool in tools if choice == "required" or tool.function.name == _chosen(choice)])
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return Grammar.json_schema(None)
    texts = {
        "json_schema": json.dumps(wanted.json_schema.schema_) if wanted.json_schema else None,
        "grammar": wanted.grammar,
        "regex": wanted.regex,
    }
    text = texts[wanted.type]
    if not text:
        raise PromptError(f"response_format of type {wanted.type} needs '{wanted.type}'")
    return Grammar("lark" if wanted.type == "grammar" else "regex" if wanted.type == "regex" else "json_schema", text)


def _chosen(choice: Any) -> str | None:
    return choice.function.name if isinstance(choice, NamedTool) else None


def _call_grammar(tools: list[Tool]) -> Grammar:
    if not tools:
        raise PromptError("tool_choice names a function that is not among the tools")
    schema = {
        "anyOf": [
            {
                "type": "object",
                "properties": {"name": {"const": tool.function.name}, "arguments": tool.function.parameters},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
            for tool in tools
        ]
    }
    return Grammar("lark", f'start: "<tool_call>\\n" call "\\n</tool_call>"\ncall: %json {json.dumps(schema)}\n')
