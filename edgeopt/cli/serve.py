"""`edgeopt serve`: a language model or a text encoder behind the OpenAI API."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from edgeopt.cli.generation_options import TemplateFile, Threads
from edgeopt.cli.options import Set
from edgeopt.cli.output import say, warn


def serve(
    model: Annotated[
        Path, typer.Argument(help="Folder, ONNX file or bundle of a language model, or folder of a text encoder.")
    ],
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0: any free one.")] = 8000,
    host: Annotated[
        str, typer.Option("--host", help="Address; the default is reachable from this machine alone.")
    ] = "127.0.0.1",
    api_key: Annotated[
        str | None, typer.Option("--api-key", help="Key that clients must send; default: $EDGEOPT_API_KEY.")
    ] = None,
    streams: Annotated[int, typer.Option("--streams", min=1, help="Requests that are decoded as one batch.")] = 8,
    template: TemplateFile = None,
    threads: Threads = None,
    changes: Set = None,
) -> None:
    """Serve a model over HTTP: the OpenAI API, a page to chat at /, /healthz and /metrics."""
    from edgeopt.cli.options import read_options
    from edgeopt.generate.server.config import ServeConfig
    from edgeopt.generate.server.running import serve as run

    key = api_key if api_key is not None else os.environ.get("EDGEOPT_API_KEY")
    config = read_options(ServeConfig, changes, host=host, port=port, api_key=key or None, streams=streams)
    if config.host not in ("127.0.0.1", "localhost", "::1") and config.api_key is None:
        warn(f"every client that reaches {config.host} may use the model: set --api-key")
    run(
        model,
        config,
        threads=threads,
        template=template,
        ready=lambda address: say(f"{model}: {address} (page), {address}/v1 (OpenAI API); Ctrl-C ends it"),
    )
