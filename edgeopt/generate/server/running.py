"""Run a server: its socket, its end."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgeopt.errors import MachineError, ModelError
from edgeopt.extras import need
from edgeopt.generate.engine.encoder_decoder import is_encoder_decoder
from edgeopt.generate.opening import open_encoder_decoder, open_engine, refuse_other_bundle
from edgeopt.generate.server.config import ServeConfig

if TYPE_CHECKING:
    from edgeopt.generate.server.app import Served, Service


def serve(
    path: Path,
    config: ServeConfig,
    *,
    threads: int | None = None,
    template: Path | None = None,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve the language model, encoder-decoder or text encoder at `path` until a signal to stop (SIGINT or SIGTERM) comes.

    Requests that run then get ``config.grace_s`` seconds to end; new ones are refused with 503 meanwhile.

    Args:
        path: as `edgeopt.generate.open_engine` takes it, or the folder of a text encoder.
        config: where to listen, and the limits.
        threads: of onnxruntime; None: one per core.
        template: a file with a chat template, instead of the folder's.
        ready: called with the address when the server listens.

    Raises:
        ModelError: it is no language model, encoder-decoder or text encoder.
        MachineError: the port is taken, or a package is not installed.
    """
    for package in ("fastapi", "uvicorn", "python_multipart", "tokenizers", "jinja2"):
        need(package, purpose="the server")
    from edgeopt.generate.server.app import Service

    with listen(config) as listening:
        service = Service(_opened(path, threads, template), config, name=path.resolve().name if path.is_dir() else path.stem)
        try:
            _run(listening, service, ready)
        finally:
            service.close()


def _opened(path: Path, threads: int | None, template: Path | None) -> Served:
    """Return the language model, the encoder-decoder or the text encoder at `path`."""
    from edgeopt.generate.server.encoder import Encoder

    refuse_other_bundle(path)
    if is_encoder_decoder(path):
        return open_encoder_decoder(path, threads=threads)
    try:
        return open_engine(path, threads=threads, template=template)
    except ModelError as error:
        try:
            return Encoder(path, threads=threads or os.cpu_count() or 1)
        except ModelError:
            raise error from None


def _run(listening: socket.socket, service: Service, ready: Callable[[str], None]) -> None:
    """Serve until a signal comes."""
    import uvicorn

    from edgeopt.generate.server.app import create_app

    class Server(uvicorn.Server):
        """Ends what runs before connections are closed."""

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await asyncio.get_running_loop().run_in_executor(None, service.close)
            await super().shutdown(sockets)

    grace_s = max(1, int(service.config.grace_s))
    options = uvicorn.Config(
        create_app(service), log_level="warning", access_log=False, timeout_graceful_shutdown=grace_s, lifespan="off"
    )
    host, port = listening.getsockname()[:2]
    ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
    Server(options).run(sockets=[listening])


def listen(config: ServeConfig) -> socket.socket:
    """Return a socket that listens where `config` says.

    Raises:
        MachineError: the address cannot be used, for example because another program does.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((config.host, config.port))
        made.listen(128)
    except OSError as error:
        made.close()
        raise MachineError(
            f"{config.host}:{config.port}: cannot listen there: {error.strerror}; give another --port"
        ) from error
    return made
