"""Serve the page on this machine, and test it: python3 server.py [PORT] | --test.

The test opens the page in headless Chromium, lets it repeat the bundle's golden answers, and opens it again with the server
answering nothing but errors: then the service worker must have kept everything. Needs nothing but Python.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Optional

HERE = Path(__file__).resolve().parent
PATIENCE_S = 120
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files with the headers that let WebAssembly use threads; POST /result takes what the page found."""

    extensions_map = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def do_GET(self) -> None:
        if getattr(self.server, "offline", False):
            self.send_error(503)
        else:
            super().do_GET()

    def do_POST(self) -> None:
        size = int(self.headers.get("content-length", 0))
        self.server.results.append(json.loads(self.rfile.read(min(size, 1 << 20))))  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()
        self.server.arrived.set()  # type: ignore[attr-defined]

    def log_message(self, *arguments: Any) -> None:
        del arguments


def server(port: int) -> http.server.ThreadingHTTPServer:
    """Return a server of this folder on the loopback address."""
    made = http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(Handler, directory=str(HERE)))
    made.results, made.arrived = [], threading.Event()  # type: ignore[attr-defined]
    return made


def visit(made: Any, browser: str, profile: str) -> Optional[Any]:
    """Open the page in a headless browser and return what it reports, or None."""
    made.arrived.clear()
    made.results.clear()
    address = f"http://127.0.0.1:{made.server_address[1]}/?golden"
    command = [
        browser,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        f"--user-data-dir={profile}",
        address,
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        made.arrived.wait(PATIENCE_S)
        return made.results[0] if made.results else None
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test() -> int:
    """Return 0 if the page gives every recorded answer, online and offline."""
    browser = next((found for found in map(shutil.which, BROWSERS) if found), None)
    if browser is None:
        print(f"no browser found ({', '.join(BROWSERS)}): on Debian, apt-get install chromium")
        return 2
    made = server(0)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    failed = False
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for name in ("online", "offline"):
            made.offline = name == "offline"  # type: ignore[attr-defined]
            found = visit(made, browser, profile)
            problems = ["the page reported nothing"] if found is None else found["problems"]
            for problem in problems:
                print(f"failed: {name}: {problem}")
            count = 0 if found is None else found["count"]
            print(f"{name}: {count - len(problems) if count else 0} of {count} golden answers as recorded")
            failed |= bool(problems) or not count
    made.shutdown()
    print("FAILED" if failed else "passed")
    return int(failed)


def main() -> int:
    """Serve, or test."""
    if sys.argv[1:] == ["--test"]:
        return test()
    port = int(sys.argv[1]) if sys.argv[1:] else 8080
    made = server(port)
    print(f"http://127.0.0.1:{made.server_address[1]}/  (Ctrl-C ends it)", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        made.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
