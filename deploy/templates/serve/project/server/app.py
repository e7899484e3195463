"""The HTTP app: POST /predict (JSON, a file, or its bytes), /healthz, /readyz, /metrics, /docs, and a demo page at /."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from inference.pipeline import Bundle

from server.batching import Batcher, Full
from server.metrics import Metrics

BUNDLE = Path(os.environ.get("BUNDLE") or Path(__file__).resolve().parent.parent / "bundle")
HERE = Path(__file__).resolve().parent
MOST = int(os.environ.get("BATCH", "16"))
WAIT_MS = float(os.environ.get("BATCH_WAIT_MS", "4"))
LATENCY_MS = float(os.environ.get("LATENCY_MS", "100"))
QUEUE = int(os.environ.get("QUEUE", "256"))
LIMIT_BYTES = int(os.environ.get("LIMIT_BYTES", str(16 << 20)))
LIMIT_CHARACTERS = int(os.environ.get("LIMIT_CHARACTERS", "100000"))
TIMEOUT_S = float(os.environ.get("TIMEOUT_S", "30"))
THREADS = int(os.environ.get("THREADS") or max(1, (os.cpu_count() or 2) // 2))  # (the other half is for HTTP and preparing)
KIND = "@@KIND@@"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the model, answer, and finish what is in flight before the end."""
    bundle = await asyncio.to_thread(Bundle, str(BUNDLE), threads=THREADS)
    app.state.bundle, app.state.metrics = bundle, Metrics()
    app.state.batcher = Batcher(bundle, most=MOST, wait_s=WAIT_MS / 1000, queue=QUEUE, bound_s=LATENCY_MS / 1000)
    app.state.ready = True
    yield
    app.state.ready = False
    await app.state.batcher.close()


app: FastAPI = FastAPI(title="@@NAME@@", description="@@TASK@@", version="@@EDGEOPT@@", lifespan=lifespan)
app.mount("/static", StaticFiles(directory=HERE / "static"))


@app.post("/predict")
async def predict(request: Request) -> JSONResponse:
    """Answer for a raw input.

    JSON `{"text": "…"}` (or `["…", "…"]` for pairs), `{"data": "base64 of a file"}`; multipart/form-data with `file`; or the
    bytes of the file as the body.
    """
    start, status = time.perf_counter(), 500
    try:
        answer = await asyncio.wait_for(_answer(request), TIMEOUT_S)
        status = 200
        return JSONResponse({"answer": answer, "milliseconds": round(1000 * (time.perf_counter() - start), 3)})
    except asyncio.TimeoutError as error:
        status = 504
        raise HTTPException(504, f"no answer within {TIMEOUT_S:g} s") from error
    except Full as error:
        status = 503
        raise HTTPException(503, "too many requests wait", headers={"Retry-After": "1"}) from error
    except HTTPException as error:
        status = error.status_code
        raise
    except ValueError as error:
        status = 422
        raise HTTPException(422, str(error).replace(str(BUNDLE), "bundle")) from error
    finally:
        app.state.metrics.add(status, time.perf_counter() - start)


async def _answer(request: Request) -> Any:
    raw = await _raw(request)
    prepare = app.state.bundle.prepare  # (a text takes less time than to change threads)
    prepared = prepare(raw) if KIND == "text" else await asyncio.to_thread(prepare, raw)
    return await app.state.batcher.answer(prepared)


async def _raw(request: Request) -> Any:
    """Return the text or the bytes that a request carries."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        _declared(request)
        form = await request.form(max_files=1, max_fields=4)
        upload = form.get("file")
        if upload is None or isinstance(upload, str):
            raise HTTPException(422, "multipart/form-data needs a file called 'file'")
        content = await upload.read(LIMIT_BYTES + 1)
        if len(content) > LIMIT_BYTES:
            raise HTTPException(413, f"more than {LIMIT_BYTES} bytes")
        return _content(content)
    body = await _body(request)
    if kind == "application/json":
        return _of_json(body)
    if kind == "text/plain" and KIND == "text":
        return _text(body.decode("utf-8", "replace"))
    if KIND == "text":
        raise HTTPException(415, f"content type '{kind}': send application/json, text/plain or multipart/form-data")
    return _content(body)


def _declared(request: Request) -> None:
    length = request.headers.get("content-length", "")
    if not length.isdigit():
        raise HTTPException(411, "a content-length is needed")
    if int(length) > LIMIT_BYTES:
        raise HTTPException(413, f"more than {LIMIT_BYTES} bytes")


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LIMIT_BYTES:
            raise HTTPException(413, f"more than {LIMIT_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def _of_json(body: bytes) -> Any:
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "the body is not JSON") from error
    if not isinstance(values, dict):
        raise HTTPException(422, 'send {"text": "…"} or {"data": "…"}')
    if KIND == "text":
        return _text(values.get("text"))
    data = values.get("data")
    if not isinstance(data, str):
        raise HTTPException(422, 'send {"data": "base64 of a file"}')
    try:
        return _content(base64.b64decode(data, validate=True))
    except binascii.Error as error:
        raise HTTPException(422, "'data' is not base64") from error


def _text(text: Any) -> Any:
    parts = text if isinstance(text, list) else [text]
    if not parts or not all(isinstance(part, str) for part in parts):
        raise HTTPException(422, 'send {"text": "…"}')
    try:
        "".join(parts).encode("utf-8")
    except UnicodeEncodeError as error:
        raise HTTPException(422, "the text holds half a character (a lone surrogate)") from error
    if sum(map(len, parts)) > LIMIT_CHARACTERS:
        raise HTTPException(413, f"more than {LIMIT_CHARACTERS} characters")
    return text


def _content(content: bytes) -> bytes:
    if not content:
        raise HTTPException(422, "the file is empty")
    return content


@app.get("/healthz", include_in_schema=False)
async def healthz() -> PlainTextResponse:
    """Answer while the process lives."""
    return PlainTextResponse("ok\n")


@app.get("/readyz", include_in_schema=False)
async def readyz() -> PlainTextResponse:
    """Answer 200 while requests are taken."""
    ready = getattr(app.state, "ready", False)
    return PlainTextResponse("ready\n" if ready else "not ready\n", 200 if ready else 503)


@app.get("/metrics", include_in_schema=False)
async def metrics() -> PlainTextResponse:
    """Answer with counters for Prometheus."""
    batcher = app.state.batcher
    gauges = {"queue_length": batcher.waiting, "model_runs": batcher.runs, "model_samples": batcher.samples}
    gauges["largest_batch"] = batcher.largest
    return PlainTextResponse(app.state.metrics.text(gauges), media_type="text/plain; version=0.0.4")


@app.get("/info", include_in_schema=False)
async def info() -> JSONResponse:
    """Answer with what the demo page shows."""
    steps = app.state.bundle.steps
    return JSONResponse(
        {"name": "@@NAME@@", "task": "@@TASK@@", "kind": KIND, "pair": bool(steps.get("pair")), "rate": steps.get("rate")}
    )


@app.get("/", include_in_schema=False)
async def page() -> Response:
    """Answer with the demo page."""
    return FileResponse(HERE / "static" / "index.html", media_type="text/html")
