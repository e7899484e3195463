"""Encoder-decoders behind the API: translated texts, recordings written down, what each of them refuses."""

from __future__ import annotations

import asyncio
import json
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest

from edgeopt.generate.engine.encoder_decoder import EncoderDecoder
from edgeopt.generate.engine.sampling import Sampling
from edgeopt.generate.server.config import ServeConfig
from edgeopt.generate.server.metrics import Metrics
from edgeopt.generate.server.requests import CompletionRequest
from edgeopt.generate.server.sources import Sources
from edgeopt.generate.server.texts import TimeLimitError
from edgeopt.generate.server.worker import QueueFullError
from tests.generate.engine.test_encoder_decoder import write_wav
from tests.generate.server.conftest import Running, running


def post(address: str, body: bytes, kind: str = "application/json") -> tuple[int, str]:
    try:
        with urlopen(Request(address, body, {"Content-Type": kind})) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())["error"]["message"]


def post_form(address: str, file: bytes | None, **fields: str) -> tuple[int, str]:
    """Send a form as browsers and the official client do."""
    parts = [f'--cut\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in fields.items()]
    body = "".join(parts).encode()
    if file is not None:
        body += b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + file + b"\r\n"
    return post(address, body + b"--cut--\r\n", "multipart/form-data; boundary=cut")


@pytest.fixture(scope="module")
def translator(t5: tuple[Any, Path]) -> Iterator[tuple[Running, EncoderDecoder]]:
    with running(EncoderDecoder(t5[1]), max_tokens=12) as made:
        yield made, EncoderDecoder(t5[1])


def test_a_text_is_answered_whole_and_in_pieces(translator: tuple[Running, EncoderDecoder]) -> None:
    server, model = translator
    known = model.generate("Once upon a time", Sampling(max_tokens=8))
    client = server.client()
    whole = client.completions.create(model="tiny", prompt="Once upon a time", max_tokens=8)
    assert (whole.choices[0].text, whole.usage.completion_tokens) == (known.text, len(known.tokens))
    pieces = list(client.completions.create(model="tiny", prompt=["Once upon a time"], max_tokens=8, stream=True))
    assert "".join(piece.choices[0].text for piece in pieces) == known.text
    assert pieces[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    with urlopen(f"{server.address}/metrics") as answer:
        figures = answer.read().decode()
    assert f"edgeopt_generated_tokens_total {2 * len(known.tokens)}" in figures


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": "hi"}]}, 404, "send the text to /v1/completions"),
        ("completions", {"prompt": [1, 2]}, 400, "must be one text"),
        ("completions", {"prompt": "a", "n": 2}, 400, "leave them out"),
        ("completions", {"prompt": "a", "max_tokens": 13}, 400, "at most 12"),
        ("completions", {"prompt": ""}, 400, "the text is empty"),
        ("completions", {"prompt": "a", "model": "other"}, 404, "no model 'other'"),
        ("embeddings", {"input": "a"}, 404, "serve a text encoder"),
    ],
)
def test_what_it_cannot_do_has_a_status(
    translator: tuple[Running, EncoderDecoder], path: str, body: dict[str, Any], status: int, said: str
) -> None:
    found, message = post(f"{translator[0].address}/v1/{path}", json.dumps(body).encode())
    assert (found, said in message) == (status, True), message


def test_a_recording_is_written_down(whisper: tuple[Any, Path, Any], tmp_path: Path) -> None:
    samples = np.sin(np.arange(24_000) / 9.0) * 0.4
    wav = write_wav(tmp_path / "speech.wav", samples, 16_000)
    model = EncoderDecoder(whisper[1])
    with running(EncoderDecoder(whisper[1]), max_tokens=10) as server:
        client = server.client()
        with wav.open("rb") as file:
            told = client.audio.transcriptions.create(model="tiny", file=file)
        assert told.text == model.generate(wav, Sampling(max_tokens=10)).text
        url = f"{server.address}/v1/audio/transcriptions"
        status, message = post_form(url, b"RIFF")
        assert (status, "not a .wav file" in message) == (400, True)
        assert post_form(url, None, language="en")[0] == 400
        status, message = post_form(url, wav.read_bytes(), language="en")
        assert (status, "one language" in message) == (400, True)
        assert post_form(url, wav.read_bytes(), response_format="text") == (200, told.text)
        message = post(f"{server.address}/v1/completions", b'{"prompt": "hello"}')[1]
        assert "/v1/audio/transcriptions" in message


def test_only_as_many_wait_as_may_and_late_ones_get_no_answer(t5: tuple[Any, Path]) -> None:
    def made(**options: Any) -> Sources:
        return Sources(EncoderDecoder(t5[1]), ServeConfig(**options), Metrics(), name="tiny")

    async def here() -> bool:
        return False

    async def crowd() -> list[Any]:
        sources = made(queue=1)
        asked = CompletionRequest(prompt="a", max_tokens=4)
        return await asyncio.gather(*(sources.complete(asked, here) for _ in range(4)), return_exceptions=True)

    found = asyncio.run(crowd())
    assert [isinstance(one, QueueFullError) for one in found] == [False, False, True, True]
    with pytest.raises(TimeLimitError):
        asyncio.run(made(time_limit_s=1e-9).complete(CompletionRequest(prompt="a"), here))


def test_a_client_that_has_gone_frees_the_turn(t5: tuple[Any, Path]) -> None:
    sources = Sources(EncoderDecoder(t5[1]), ServeConfig(), Metrics(), name="tiny")

    async def gone() -> bool:
        return True

    async def leave() -> bool:
        with pytest.raises(TimeLimitError):
            await sources.complete(CompletionRequest(prompt="Once upon a time", max_tokens=64), gone)
        return sources._turn.locked()

    assert not asyncio.run(leave())


def test_a_stream_that_is_left_frees_the_turn(t5: tuple[Any, Path]) -> None:
    sources = Sources(EncoderDecoder(t5[1]), ServeConfig(), Metrics(), name="tiny")

    async def leave() -> tuple[bool, bool]:
        events = await sources.begun(CompletionRequest(prompt="Once upon a time", max_tokens=64, stream=True))
        await anext(events)
        during = sources._turn.locked()
        await events.aclose()
        return during, sources._turn.locked()

    assert asyncio.run(leave()) == (True, False)
