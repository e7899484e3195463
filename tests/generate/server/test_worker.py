"""The queue and the batch: many requests without cross-talk, cancelled clients, limits, the end."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest

from edgeopt.generate.engine.engine import Engine
from edgeopt.generate.engine.sampling import Sampling
from tests.generate.engine.test_session import failing
from tests.generate.server.conftest import Running, running

openai = pytest.importorskip("openai")


def test_mixed_requests_do_not_mix(server: Running, engine: Engine) -> None:
    random = np.random.default_rng(0)
    asked: list[dict[str, Any]] = []
    for index in range(60):
        prompt = random.integers(3, 400, int(random.integers(1, 60))).tolist()
        options = {"max_tokens": int(random.integers(1, 25)), "seed": index, "temperature": float(index % 3) / 2}
        asked.append({"model": "tiny", "prompt": prompt, "stream": bool(index % 2), **options})

    def ask(request: dict[str, Any]) -> str:
        made = server.client().completions.create(**request)
        if request["stream"]:
            return "".join(event.choices[0].text for event in made if event.choices)
        return str(made.choices[0].text)

    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(ask, asked))
    names = ("max_tokens", "seed", "temperature")
    alone = [engine.generate(one["prompt"], Sampling(**{name: one[name] for name in names})).text for one in asked]
    assert texts == alone


def test_a_client_that_goes_away_frees_its_slot(server: Running) -> None:
    body = json.dumps(
        {"model": "tiny", "prompt": "Once", "max_tokens": 400, "stream": True, "logit_bias": {"2": -100}}
    ).encode()
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /v1/completions HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        connection.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert b"200" in connection.recv(64)
        worker = server.service.worker
        assert worker is not None
        assert worker.running == 1
        before = server.service.metrics.generated_tokens.value
    end = time.monotonic() + 5
    while worker.running and time.monotonic() < end:
        time.sleep(0.005)
    assert worker.running == 0
    assert server.service.metrics.generated_tokens.value - before < 390


def test_more_than_may_wait_are_refused(portable: Path) -> None:
    with running(Engine.open(portable), streams=1, queue=1) as made:
        slow = {"model": "tiny", "prompt": "a", "max_tokens": 400, "logit_bias": {"2": -100}}

        def ask(_: int) -> int:
            try:
                made.client().completions.create(**slow)
            except openai.APIStatusError as error:
                assert error.response.headers["retry-after"] == "1"
                return int(error.status_code)
            return 200

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(ask, range(8)))
    assert set(found) == {200, 429}


def test_a_graph_that_fails_is_a_500_and_the_next_request_is_answered(portable: Path, tmp_path: Path) -> None:
    folder = failing(portable, tmp_path / "model", graph="model.onnx", tokens="input_ids", count=1)
    with running(Engine.open(folder)) as made:
        with pytest.raises(openai.InternalServerError, match="fails while onnxruntime") as caught:
            made.client().completions.create(model="tiny", prompt=[5, 6], max_tokens=3)
        assert caught.value.status_code == 500
        assert made.client().completions.create(model="tiny", prompt=[5], max_tokens=3).usage.completion_tokens == 3


def test_a_request_that_waits_too_long_is_a_504(portable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_s = 0.05
    with running(Engine.open(portable), streams=1, time_limit_s=limit_s) as made:
        worker = made.service.worker
        assert worker is not None
        step = worker._loop.step

        def slow_step() -> list[Any]:
            end = time.monotonic() + 60
            while worker.waiting < 3 and not worked.is_set() and time.monotonic() < end:
                time.sleep(0.001)
            time.sleep(limit_s)  # so that every request in the queue has waited too long
            worked.set()
            return list(step())

        worked = threading.Event()
        monkeypatch.setattr(worker._loop, "step", slow_step)
        slow = {"model": "tiny", "prompt": "a", "max_tokens": 400, "logit_bias": {"2": -100}}

        def ask(_: int) -> str:
            try:
                return str(made.client().completions.create(**slow).choices[0].finish_reason)
            except openai.APIStatusError as error:
                return str(error.status_code)

        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(ask, range(4)))
    assert sorted(found) == ["504", "504", "504", "length"]


def test_shutting_down_lets_answers_end_and_takes_no_new_ones(portable: Path) -> None:
    with running(Engine.open(portable), streams=1) as made:
        results: list[Any] = []
        request = {"model": "tiny", "prompt": "a", "max_tokens": 300, "logit_bias": {"2": -100}}
        asking = threading.Thread(target=lambda: results.append(made.client().completions.create(**request)))
        asking.start()
        worker = made.service.worker
        assert worker is not None
        while not worker.running:
            time.sleep(0.001)
        closing = threading.Thread(target=made.service.close)
        closing.start()
        while worker.open:
            time.sleep(0.001)
        with pytest.raises(openai.APIStatusError) as caught:
            made.client().completions.create(**request)
        assert caught.value.status_code == 503
        asking.join()
        closing.join()
    assert results[0].usage.completion_tokens == 300


def test_a_failing_model_ends_its_requests_and_not_the_server(portable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine.open(portable)
    with running(engine) as made:
        worker = made.service.worker
        assert worker is not None
        with monkeypatch.context() as patch:

            def fail() -> None:
                raise RuntimeError("no more memory")

            patch.setattr(worker._loop, "step", fail)
            with pytest.raises(openai.APIStatusError) as caught:
                made.client().completions.create(model="tiny", prompt="a", max_tokens=3)
            assert caught.value.status_code == 503
        assert made.client().completions.create(model="tiny", prompt="a", max_tokens=3).choices
        with urlopen(Request(f"{made.address}/healthz")) as answer:
            assert json.load(answer) == {"status": "ok"}
