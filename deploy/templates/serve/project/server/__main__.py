"""python -m server [--host 127.0.0.1] [--port 8000]."""

from __future__ import annotations

import argparse

import uvicorn


def main() -> None:
    """Serve until SIGTERM or Ctrl-C; requests in flight are answered first."""
    parser = argparse.ArgumentParser(prog="server", description="@@NAME@@ over HTTP.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default: this machine alone")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    uvicorn.run(
        "server.app:app", host=options.host, port=options.port, log_level="warning", access_log=False,
        timeout_graceful_shutdown=30, limit_concurrency=1024, server_header=False,
    )  # fmt: skip


if __name__ == "__main__":
    main()
