"""Who may ask: hosts, origins, keys, sizes."""

from __future__ import annotations

import http.client
import json
import urllib.error
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from edgeopt.generate.engine.engine import Engine
from tests.generate.server.conftest import Running, running
from tests.generate.server.test_app import get


def test_other_hosts_origins_and_large_bodies_are_refused(server: Running) -> None:
    assert get(f"{server.address}/v1/models", Host="evil.example")[0] == 403
    assert get(f"{server.address}/v1/models", Origin="https://evil.example")[0] == 403
    assert get(f"{server.address}/v1/models", Origin=server.address)[0] == 200
    kind = {"Content-Type": "application/json"}
    assert get(f"{server.address}/v1/models", **{"Content-Length": str(5 << 20)})[0] == 413
    with pytest.raises(urllib.error.HTTPError) as caught:
        urlopen(Request(f"{server.address}/v1/completions", b"{", kind))
    with caught.value as error:
        assert error.code == 400


def test_an_api_key(portable: Path) -> None:
    with running(Engine.open(portable), api_key="secret") as made:
        assert get(f"{made.address}/v1/models")[0] == 401
        assert get(f"{made.address}/v1/models", Authorization="Bearer wrong")[0] == 401
        assert get(f"{made.address}/v1/models", Authorization="Bearer secret")[0] == 200
        assert get(f"{made.address}/healthz")[0] == 200


def test_an_origin_that_is_none_is_refused_and_a_key_may_have_any_letters(portable: Path) -> None:
    with running(Engine.open(portable), api_key="schlüssel") as made:
        assert get(f"{made.address}/v1/models", Origin="http://[")[0] == 403
        given = "Bearer " + "schlüssel".encode().decode("latin-1")
        assert get(f"{made.address}/v1/models", Authorization=given)[0] == 200


def test_a_body_that_comes_in_parts_is_refused_once_it_is_too_large(portable: Path) -> None:
    with running(Engine.open(portable), max_body_bytes=2000) as made:
        connection = http.client.HTTPConnection(made.address.removeprefix("http://"))
        parts = iter([b"a" * 1500, b"a" * 1500])
        connection.request("POST", "/v1/completions", parts, {"Content-Type": "application/json"}, encode_chunked=True)
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["error"]["message"]) == (413, "the request is larger than 2000 bytes")
        connection.close()
