"""A server in this process, on the loopback address."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

import uvicorn

from edgeopt.generate.engine.engine import Engine
from edgeopt.generate.server.app import Service, create_app
from edgeopt.generate.server.config import ServeConfig
from edgeopt.generate.server.encoder import Encoder
from edgeopt.generate.server.running import listen


@dataclass
class Running:
    """A server that listens."""

    address: str
    service: Service
    stop: Callable[[], None] = field(repr=False)
    _client: Any = None

    def client(self) -> Any:
        """Return the official client."""
        import openai

        if self._client is None:
            self._client = openai.OpenAI(base_url=f"{self.address}/v1", api_key="none", max_retries=0, timeout=60)
        return self._client

    def close(self) -> None:
        """End the server and the client."""
        if self._client is not None:
            self._client.close()
        self.stop()


@contextmanager
def running(model: Engine | Encoder, **options: Any) -> Iterator[Running]:
    """Serve a model while the block runs."""
    config = ServeConfig(**{"port": 0, "grace_s": 5.0, "max_tokens": 400, **options})
    service = Service(model, config, name="tiny")
    listening = listen(config)
    server = uvicorn.Server(uvicorn.Config(create_app(service), log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
        assert thread.is_alive()

    def stop() -> None:
        service.close()
        server.should_exit = True
        thread.join(20)

    made = Running(f"http://127.0.0.1:{listening.getsockname()[1]}", service, stop)
    try:
        yield made
    finally:
        made.close()
        listening.close()
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def server(portable: Path) -> Iterator[Running]:
    """A server of the tiny language model."""
    with running(Engine.open(portable), streams=4) as made:
        yield made
