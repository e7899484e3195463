"""Paths and status codes.

GET  /                       a page to chat               POST /v1/chat/completions
GET  /healthz  /metrics      for monitoring               POST /v1/completions
GET  /v1/models                                           POST /v1/embeddings       where an encoder is served
                                                          POST /v1/audio/transcriptions   where the model hears

400 the request is malformed, or its prompt too long      429 too many requests wait        503 no memory, or shutting down
404 no such model or path                                 504 no token within the time limit
500 the model's graph fails while it runs
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from fastapi import FastAPI, Form, HTTPException, UploadFile
from fastapi import Request as HttpRequest
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException as AnyHTTPException

from edgeopt import __version__
from edgeopt._folders import shipped
from edgeopt.errors import EdgeoptError, MachineError
from edgeopt.generate.engine.encoder_decoder import EncoderDecoder
from edgeopt.generate.engine.engine import Engine
from edgeopt.generate.engine.errors import CacheError, ContextError, EngineError, FolderError, RunError
from edgeopt.generate.server.answers import error_body
from edgeopt.generate.server.config import ServeConfig
from edgeopt.generate.server.encoder import Encoder
from edgeopt.generate.server.guard import Guard
from edgeopt.generate.server.metrics import Metrics
from edgeopt.generate.server.requests import ChatRequest, CompletionRequest, EmbeddingRequest
from edgeopt.generate.server.sources import Sources
from edgeopt.generate.server.texts import Answering, Texts, TimeLimitError
from edgeopt.generate.server.worker import QueueFullError, ShuttingDownError, Worker

_PAGE = Path(__file__).with_name("page.html")
_CHAT = shipped("deploy") / "templates" / "chat"
"""The page's look and its conversation, shared with projects for browsers."""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"
Served: TypeAlias = Engine | EncoderDecoder | Encoder


class UnknownModelError(EdgeoptError):
    """A request names another model than the one that is served."""


_STATUS: dict[type[Exception], int] = {
    QueueFullError: 429,
    ShuttingDownError: 503,
    TimeLimitError: 504,
    CacheError: 503,
    MachineError: 503,
    UnknownModelError: 404,
    RunError: 500,
    FolderError: 501,  # the server lacks a package or a file for what is asked
}
_CODES: dict[type[Exception], str] = {UnknownModelError: "model_not_found", ContextError: "context_length_exceeded"}
"""What the API calls these errors."""


class Service:
    """One model behind the API: a language model with its decoding thread, an encoder-decoder, or an encoder."""

    def __init__(self, model: Served, config: ServeConfig, *, name: str) -> None:
        self.config, self.name, self.metrics = config, config.name or name, Metrics()
        self.encoder = model if isinstance(model, Encoder) else None
        self.worker: Worker | None = None
        self.texts: Texts | None = None
        self.sources: Sources | None = None
        self.open = True
        if isinstance(model, EncoderDecoder):
            self.sources = Sources(model, config, self.metrics, name=self.name)
        if isinstance(model, Engine):
            loop = model.loop(rows=config.streams)
            self.worker = Worker(loop, self.metrics, queue=config.queue)
            self.texts = Texts(model, self.worker, config, name=self.name)

    def close(self) -> None:
        """Take no more requests and end those that run."""
        self.open = False
        if self.worker is not None:
            self.worker.close(self.config.grace_s)

    def gauges(self) -> dict[str, tuple[str, float]]:
        """Return the figures that go up and down."""
        worker = self.worker
        return {
            "edgeopt_queue_length": (
                "Requests that wait.",
                worker.waiting if worker else self.sources.waiting if self.sources else 0,
            ),
            "edgeopt_running": ("Requests that are being answered.", worker.running if worker else 0),
            "edgeopt_cache_tokens": ("Tokens in the cache.", worker.cached_tokens if worker else 0),
        }

    def check_model(self, asked: str | None) -> None:
        """Raise an error if a request names another model."""
        if asked is not None and asked != self.name:
            raise UnknownModelError(f"no model '{asked[:80]}'; this server has '{self.name}'")


def create_app(service: Service) -> Any:
    """Return the ASGI application."""
    app = FastAPI(title="edgeopt", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    _add_errors(app)
    _add_facts(app, service)
    _add_texts(app, service)
    _add_recordings(app, service)
    _add_embeddings(app, service)
    return Guard(app, config=service.config, metrics=service.metrics)


def _add_errors(app: FastAPI) -> None:
    async def malformed(_: HttpRequest, error: Exception) -> Response:
        first = error.errors()[0] if isinstance(error, RequestValidationError) else {"loc": (), "msg": str(error)}
        place = ".".join(str(part) for part in first["loc"][1:])
        return JSONResponse(error_body(f"{place}: {first['msg']}" if place else str(first["msg"])), 400)

    async def http(_: HttpRequest, error: Exception) -> Response:
        status, detail = getattr(error, "status_code", 500), getattr(error, "detail", "internal error")
        return JSONResponse(error_body(str(detail)), status)

    async def nested(_: HttpRequest, __: Exception) -> Response:
        return JSONResponse(error_body("the request is nested too deeply"), 400)

    async def known(_: HttpRequest, error: Exception) -> Response:
        status = next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 400)
        code = next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), None)
        kind = "invalid_request_error" if status in (400, 404) else "server_error"
        headers = {"Retry-After": "1"} if status in (429, 503) else None
        return JSONResponse(error_body(str(error), kind=kind, code=code), status, headers=headers)

    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(RecursionError, nested)
    for refused in (AnyHTTPException, 404, 405):  # the numbers are the router's own
        app.add_exception_handler(refused, http)
    for kind in (EngineError, QueueFullError, ShuttingDownError, TimeLimitError, MachineError, UnknownModelError):
        app.add_exception_handler(kind, known)


def page_of(name: str) -> str:
    """Return the page to chat with the model called `name`: one text, which loads nothing."""
    parts = {
        "__STYLE__": (_CHAT / "page.css").read_text(encoding="utf-8"),
        "__PAGE__": (_CHAT / "page.mjs").read_text(encoding="utf-8"),
        "__MODEL__": json.dumps(name).replace("<", "\\u003c"),
    }
    text = _PAGE.read_text(encoding="utf-8")
    for mark, part in parts.items():
        text = text.replace(mark, part)
    return text


def _add_facts(app: FastAPI, service: Service) -> None:
    created = int(time.time())

    @app.get("/", response_class=HTMLResponse)
    async def page() -> HTMLResponse:
        return HTMLResponse(
            page_of(service.name), headers={"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"}
        )

    @app.get("/healthz")
    async def health() -> JSONResponse:
        ready = service.open and (service.worker is None or service.worker.open)
        return JSONResponse({"status": "ok" if ready else "shutting down"}, 200 if ready else 503)

    @app.get("/metrics")
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(service.metrics.text(service.gauges()), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        entry = {"id": service.name, "object": "model", "created": created, "owned_by": "edgeopt"}
        return {"object": "list", "data": [entry]}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        service.check_model(name)
        return {"id": service.name, "object": "model", "created": created, "owned_by": "edgeopt"}


def _add_texts(app: FastAPI, service: Service) -> None:
    def texts() -> Texts:
        if service.sources is not None:
            path = "a .wav file to /v1/audio/transcriptions" if service.sources.hears else "the text to /v1/completions"
            raise HTTPException(404, f"'{service.name}' is an encoder-decoder and does not chat: send {path}")
        if service.texts is None:
            raise HTTPException(404, f"'{service.name}' is a text encoder: it has /v1/embeddings and writes no texts")
        return service.texts

    @app.post("/v1/chat/completions")
    async def chat(asked: ChatRequest, http: HttpRequest) -> Response:
        service.check_model(asked.model)
        summary = asked.stream_options is not None and asked.stream_options.include_usage
        return await _answer(texts().chat(asked), http.is_disconnected, stream=asked.stream, summary=summary)

    @app.post("/v1/completions")
    async def complete(asked: CompletionRequest, http: HttpRequest) -> Response:
        service.check_model(asked.model)
        if service.sources is not None:
            if asked.stream:
                return _events(await service.sources.begun(asked))
            return JSONResponse(await service.sources.complete(asked, http.is_disconnected))
        summary = asked.stream_options is not None and asked.stream_options.include_usage
        return await _answer(texts().complete(asked), http.is_disconnected, stream=asked.stream, summary=summary)


async def _answer(answering: Answering, gone: Callable[[], Awaitable[bool]], *, stream: bool, summary: bool) -> Response:
    if not stream:
        return JSONResponse(await answering.whole(gone))
    try:
        await answering.begun()
    except BaseException:
        answering.cancel()
        raise
    return _events(answering.pieces(summary=summary))


def _events(pieces: AsyncIterator[str]) -> Response:
    return StreamingResponse(pieces, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def _add_recordings(app: FastAPI, service: Service) -> None:
    @app.post("/v1/audio/transcriptions")
    async def transcribe(
        http: HttpRequest,
        file: UploadFile,
        *,
        model: Annotated[str | None, Form()] = None,
        language: Annotated[str | None, Form()] = None,
        temperature: Annotated[float, Form(ge=0, le=100)] = 0.0,
        response_format: Annotated[Literal["json", "text"], Form()] = "json",
    ) -> Response:
        service.check_model(model)
        if service.sources is None or not service.sources.hears:
            raise HTTPException(404, f"'{service.name}' does not hear: serve a speech model for transcriptions")
        text = await service.sources.transcribe(await file.read(), language, temperature, http.is_disconnected)
        return PlainTextResponse(text) if response_format == "text" else JSONResponse({"text": text})


def _add_embeddings(app: FastAPI, service: Service) -> None:
    @app.post("/v1/embeddings")
    async def embed(asked: EmbeddingRequest) -> dict[str, Any]:
        service.check_model(asked.model)
        encoder = service.encoder
        if encoder is None:
            raise HTTPException(404, f"'{service.name}' is a language model; serve a text encoder for embeddings")
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        vectors, tokens = await run_in_threadpool(encoder.encode, texts)
        if asked.dimensions is not None and asked.dimensions != vectors.shape[1]:
            raise HTTPException(400, f"dimensions is {asked.dimensions}, this model's vectors have {vectors.shape[1]}")
        as_text = asked.encoding_format == "base64"
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": base64.b64encode(vector.tobytes()).decode() if as_text else vector.tolist(),
            }
            for index, vector in enumerate(vectors)
        ]
        return {
            "object": "list",
            "data": data,
            "model": service.name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
