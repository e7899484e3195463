"""A headless browser on this machine: a page runs the runner's requests with onnxruntime-web (``deploy/runner/measure.mjs``).

The page fetches requests from, and posts replies to, a server on the loopback address whose paths only it knows (a random
part in every path). The server isolates the page (COOP and COEP headers), which gives it a timer of 5 µs and threads.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import secrets
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from edgeopt import lifetime
from edgeopt._folders import shipped
from edgeopt.errors import MachineError
from edgeopt.graph.files import external_files
from edgeopt.targets.environments import modules_of
from edgeopt.targets.replies import MOST_BYTES, UnreadableReply
from edgeopt.targets.runner import ConnectionLost, Runner, read_reply
from edgeopt.targets.target import Target

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
)
_PAGE = b"""<!doctype html><title>edgeopt</title><script type="module">
import * as ort from "./web/ort.wasm.min.mjs";
import { serve } from "./measure.mjs";
await serve(ort, location.pathname.replace(/\\/$/, ""));
</script>"""
_TYPES = {".mjs": "text/javascript", ".wasm": "application/wasm", ".html": "text/html"}
_POLL_S = 5.0


def find_browser() -> str | None:
    """Return the path of an installed browser, None if there is none."""
    return next((path for name in _BROWSERS if (path := shutil.which(name))), None)


class Page:
    """A page in a headless browser, and its server."""

    def __init__(self, browser: str, web: Path, files: Mapping[str, Path]) -> None:
        self.where = "the browser"
        self._requests: queue.Queue[str] = queue.Queue()
        self._replies: queue.Queue[bytes] = queue.Queue()
        token = secrets.token_urlsafe(16)
        handler = type("Handler", (_Handler,), {"page": self, "root": f"/{token}", "web": web, "files": files})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self._held = ExitStack()
        profile = self._held.enter_context(lifetime.temporary_folder("edgeopt-browser-"))
        as_root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        address = f"http://127.0.0.1:{self._server.server_port}/{token}/"
        command = [browser, *_FLAGS, *as_root, f"--user-data-dir={profile}", "--remote-debugging-port=0", address]
        self._browser = lifetime.start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ask(self, request: Mapping[str, Any], *, timeout_s: float = 600.0) -> Any:
        """Send one request and return the reply (see `Runner.ask`)."""
        self._requests.put(json.dumps(request))
        waited = 0.0
        while waited < timeout_s:
            try:
                line = self._replies.get(timeout=min(_POLL_S, timeout_s))
                return read_reply(line, request, where=self.where)
            except UnreadableReply as error:
                raise MachineError(f"{self.where}: {error}") from error
            except queue.Empty:
                waited += _POLL_S
                if self._browser.poll() is not None:
                    raise ConnectionLost(f"{self.where} ended with {self._browser.returncode}") from None
        raise ConnectionLost(f"{self.where}: no reply within {timeout_s:.0f} s")

    def next_request(self) -> str | None:
        """Return the next request for the page, None after a timeout."""
        try:
            return self._requests.get(timeout=_POLL_S)
        except queue.Empty:
            return None

    def take_reply(self, line: bytes) -> None:
        """Accept a reply of the page."""
        self._replies.put(line)

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.terminate()
        lifetime.end(self._browser, grace_s=10.0)
        self._server.shutdown()
        self._server.server_close()
        self._held.close()


class _Handler(BaseHTTPRequestHandler):
    """Serves the page, its modules and the files that were sent; nothing else."""

    page: ClassVar[Page]
    root: ClassVar[str]
    web: ClassVar[Path]
    files: ClassVar[Mapping[str, Path]]

    def do_GET(self) -> None:
        inside, _, rest = self.path.removeprefix(self.root + "/").partition("/")
        if not self.path.startswith(self.root + "/"):
            self._reply(404, b"", "text/plain")
        elif inside == "" and not rest:
            self._reply(200, _PAGE, _TYPES[".html"])
        elif inside == "next":
            line = self.page.next_request()
            self._reply(204 if line is None else 200, (line or "").encode(), "application/json")
        else:
            path = self._path(inside, rest)
            if path is None or not path.is_file():
                self._reply(404, b"", "text/plain")
            else:
                self._reply(200, path.read_bytes(), _TYPES.get(path.suffix, "application/octet-stream"))

    def _path(self, inside: str, rest: str) -> Path | None:
        if inside == "measure.mjs":
            return shipped("deploy") / "runner" / "measure.mjs"
        if inside == "web" and "/" not in rest and rest.startswith("ort"):
            return self.web / rest
        return self.files.get(rest) if inside == "file" else None

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length", "0")
        body = self.rfile.read(min(int(size), MOST_BYTES + 1) if size.isdecimal() else 0)
        if self.path == f"{self.root}/reply":
            self.page.take_reply(body)
            self._reply(200, b"", "text/plain")
        else:
            self._reply(404, b"", "text/plain")

    def _reply(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        with contextlib.suppress(ConnectionError):  # the page was closed
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the name http.server gives it)
        """Log nothing."""


class Browser:
    """A browser on this machine."""

    where = "the browser"

    def __init__(self, browser: str, web: Path) -> None:
        self._browser = browser
        self._web = web
        self._files: dict[str, Path] = {}

    def send(self, path: Path) -> str:
        """Let the page read `path`, and return its name there."""
        path = Path(path)
        if path.suffix == ".onnx" and external_files(path):
            raise MachineError(f"{path}: models with external data are not sent to a browser; save it as one file")
        name = f"{len(self._files)}-{path.name}"
        self._files[name] = path
        return name

    def fetch(self, path: str, to: Path) -> None:
        """Raise an error: a page writes no files."""
        raise MachineError(f"{path}: a page writes no files, so {to.name} cannot be fetched")

    def start(self) -> AbstractContextManager[Runner]:
        """Open a page that is the runner."""
        return Page(self._browser, self._web, self._files)


@contextmanager
def connect(target: Target) -> Iterator[Browser]:
    """Connect to a browser on this machine."""
    browser = find_browser()
    if browser is None:
        raise MachineError(f"target '{target.name}' needs a browser: none of {', '.join(_BROWSERS)} is installed")
    yield Browser(browser, modules_of(target) / "onnxruntime-web" / "dist")
