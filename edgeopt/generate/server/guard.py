"""Who may ask: checks of every request before it reaches its path.

403   another host or origin: a page on the internet must not use a server on this machine (DNS rebinding, cross-site posts)
401   no key, or a wrong one
413   a request larger than allowed
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from starlette.exceptions import HTTPException

from edgeopt.generate.server.answers import error_body
from edgeopt.generate.server.config import ServeConfig
from edgeopt.generate.server.metrics import Metrics

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_OPEN_PATHS = {"/", "/healthz"}
"""Paths that need no key: they disclose nothing about users."""
_KNOWN_PATHS = {"/", "/healthz", "/metrics", "/v1/models"} | {
    f"/v1/{path}" for path in ("chat/completions", "completions", "embeddings", "audio/transcriptions")
}


class Guard:
    """ASGI middleware around the application."""

    def __init__(self, app: App, *, config: ServeConfig, metrics: Metrics) -> None:
        self._app, self._config, self._metrics = app, config, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        path = scope["path"] if scope["path"] in _KNOWN_PATHS else "other"

        async def counted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests[path, message["status"]] += 1
            await send(message)

        refused = self._refusal(scope["path"], headers)
        if refused is not None:
            await _reply(counted, *refused)
            return
        await self._app(scope, self._limited(receive), counted)

    def _refusal(self, path: str, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if self._config.host in _LOOPBACK and _name(host) not in _LOOPBACK:
            return 403, f"this server answers to localhost, not to '{host[:80]}'"
        origin = headers.get("origin")
        if origin is not None and _split(origin).netloc != host:
            return 403, f"pages of '{origin[:80]}' may not use this server"
        key = self._config.api_key
        if key is not None and path not in _OPEN_PATHS:
            given = headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode("latin-1"), key.encode()):
                return 401, "the API key is missing or wrong: send it as 'Authorization: Bearer KEY'"
        size = headers.get("content-length", "0")
        if size.isdecimal() and int(size) > self._config.max_body_bytes:
            return 413, f"the request has {size} bytes, at most {self._config.max_body_bytes} are read"
        return None

    def _limited(self, receive: Receive) -> Receive:
        read = 0

        async def limited() -> MutableMapping[str, Any]:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._config.max_body_bytes:
                raise HTTPException(413, f"the request is larger than {self._config.max_body_bytes} bytes")
            return message

        return limited


def _name(host: str) -> str:
    """Return a Host header without its port."""
    return _split(f"//{host}").hostname or ""


def _split(address: str) -> SplitResult:
    """Return the parts of an address; none where it is not one."""
    try:
        return urlsplit(address)
    except ValueError:
        return SplitResult("", "", "", "", "")


async def _reply(send: Send, status: int, message: str) -> None:
    body = json.dumps(error_body(message)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
