"""An encoder-decoder behind the API: a text is translated or summarized, a recording is written down.

    POST /v1/completions              the prompt is the source, the completion the answer
    POST /v1/audio/transcriptions     where the model hears: a .wav file, its text

Requests are answered one after the other; those that wait count against the queue. A request ends at the next token once its
client has gone.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, closing

from fastapi.concurrency import run_in_threadpool

from edgeopt.generate.engine.encoder_decoder import EncoderDecoder
from edgeopt.generate.engine.errors import PromptError
from edgeopt.generate.engine.sampling import Sampling
from edgeopt.generate.engine.stream import Answer
from edgeopt.generate.server.answers import Form
from edgeopt.generate.server.config import ServeConfig
from edgeopt.generate.server.metrics import Metrics
from edgeopt.generate.server.requests import CompletionRequest
from edgeopt.generate.server.texts import TimeLimitError, check_lengths, sampling_of
from edgeopt.generate.server.worker import QueueFullError

_LATE = "no token within the time limit of this server; it is busy, try again later"
_Gone = Callable[[], Awaitable[bool]]


class Sources:
    """The encoder-decoder of a server."""

    def __init__(self, model: EncoderDecoder, config: ServeConfig, metrics: Metrics, *, name: str) -> None:
        self._model, self._config, self._metrics, self._name = model, config, metrics, name
        self._turn = asyncio.Lock()
        self.waiting = 0

    @property
    def hears(self) -> bool:
        """Whether sources are recordings."""
        return self._model.hears

    async def complete(self, asked: CompletionRequest, gone: _Gone) -> dict[str, object]:
        """Return the whole answer to a text."""
        answer = await self._answer(self._text(asked), self._options(asked), gone)
        return self._form().answered(answer)

    async def begun(self, asked: CompletionRequest) -> AsyncGenerator[str]:
        """Return the events of a streamed answer once its first piece is there, so that errors have a status of their own."""
        found: list[Answer] = []
        pieces = self._pieces(self._text(asked), self._options(asked), found)
        first = await anext(pieces, "")
        return self._events(first, pieces, found)

    async def _events(self, first: str, pieces: AsyncGenerator[str], found: list[Answer]) -> AsyncGenerator[str]:
        form = self._form()
        async with aclosing(pieces):  # (a client that has gone must free the turn at once)
            yield _event(form.piece(0, first, []))
            async for piece in pieces:
                yield _event(form.piece(0, piece, []))
        yield _event(form.closing(0, "stop" if found and found[0].reason == "stop" else "length"))
        yield "data: [DONE]\n\n"

    async def transcribe(self, recording: bytes, language: str | None, temperature: float, gone: _Gone) -> str:
        """Return what is said in the content of a .wav file."""
        options = Sampling(max_tokens=self._config.max_tokens, temperature=temperature)
        return (await self._answer(recording, options, gone, language=language)).text

    async def _answer(self, source: str | bytes, options: Sampling, gone: _Gone, *, language: str | None = None) -> Answer:
        found: list[Answer] = []
        pieces = self._pieces(source, options, found, language=language)
        async for _ in pieces:
            if await gone():
                await pieces.aclose()
        if not found:  # (the client has gone)
            raise TimeLimitError(_LATE)
        return found[0]

    async def _pieces(
        self, source: str | bytes, options: Sampling, found: list[Answer], *, language: str | None = None
    ) -> AsyncGenerator[str]:
        """Yield the answer in pieces once it is this request's turn; the whole is in `found` at the end."""
        if self._turn.locked() and self.waiting >= self._config.queue:
            raise QueueFullError(f"{self.waiting} requests are waiting, at most {self._config.queue} may; try again later")
        start = time.perf_counter()
        deadline = start + self._config.time_limit_s
        self.waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self.waiting -= 1
        try:
            if time.perf_counter() > deadline:
                raise TimeLimitError(_LATE)
            pieces = self._model.stream(source, options, language=language, deadline=deadline)
            with closing(pieces):
                while (piece := await run_in_threadpool(next, pieces, None)) is not None:
                    yield piece
            found += [answer] if (answer := self._model.answered) is not None else []
            self._count(found, time.perf_counter() - start)
        finally:
            self._turn.release()

    def _count(self, found: list[Answer], seconds: float) -> None:
        for answer in found:
            self._metrics.prompt_tokens.add(answer.prompt_tokens)
            self._metrics.made(len(answer.tokens))
            self._metrics.first_token.observe(max(0.0, seconds - answer.decode_s))

    def _form(self) -> Form:
        return Form(self._name, chat=False, tokens=self._model.tokens)

    def _text(self, asked: CompletionRequest) -> str:
        if self.hears:
            raise PromptError(f"'{self._name}' writes down what is said: send a .wav file to /v1/audio/transcriptions")
        given = asked.prompt
        if isinstance(given, list) and len(given) == 1 and isinstance(given[0], str):
            given = given[0]
        if not isinstance(given, str):
            raise PromptError("'prompt' must be one text: this model reads texts")
        if asked.n != 1 or asked.logprobs is not None or asked.echo:
            raise PromptError("'n', 'logprobs' and 'echo' are not for this model, which answers a text: leave them out")
        check_lengths(self._config, len(self._model.tokens.encode(given)), asked.max_tokens)
        return given

    def _options(self, asked: CompletionRequest) -> Sampling:
        return sampling_of(self._config, asked, most=asked.max_tokens or self._config.max_tokens, logprobs=None)


def _event(values: dict[str, object]) -> str:
    return f"data: {json.dumps(values, ensure_ascii=False)}\n\n"
