"""A headless browser as a device: the bridge to its page, and once for real where one is installed."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from edgeopt.errors import MachineError, ModelError
from edgeopt.profile.config import ProfileConfig
from edgeopt.profile.stage import profile
from edgeopt.targets.availability import available
from edgeopt.targets.runner import ConnectionLost
from edgeopt.targets.target import load_target
from edgeopt.targets.transports.browser import Browser, Page

_FAKE_BROWSER = """#!{python}
import json, sys, urllib.request
base = sys.argv[-1].rstrip("/")
while True:
    with urllib.request.urlopen(base + "/next") as reply:
        if reply.status != 200:
            continue
        request = json.load(reply)
    if request["do"] == "crash":
        sys.exit(7)
    if request["do"] == "read":
        with urllib.request.urlopen(base + "/file/" + request["name"]) as reply:
            answer = {{"ok": {{"text": reply.read().decode()}}}}
    else:
        answer = {{"error": {{"kind": "model", "message": "no such operator"}}}}
    urllib.request.urlopen(base + "/reply", data=json.dumps(answer).encode()).close()
"""


@pytest.fixture
def browser(tmp_path: Path) -> str:
    import sys

    path = tmp_path / "fake-browser"
    path.write_text(_FAKE_BROWSER.format(python=sys.executable))
    path.chmod(0o755)
    return str(path)


def test_requests_and_files_reach_the_page_and_replies_come_back(browser: str, tmp_path: Path) -> None:
    (tmp_path / "inputs.npz").write_text("numbers")
    device = Browser(browser, tmp_path)
    name = device.send(tmp_path / "inputs.npz")
    with device.start() as page:
        assert page.ask({"do": "read", "name": name}) == {"text": "numbers"}
        with pytest.raises(ModelError, match="no such operator"):
            page.ask({"do": "anything"})


def test_a_browser_that_ends_is_noticed(browser: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeopt.targets.transports.browser._POLL_S", 0.2)
    with Page(browser, tmp_path, {}) as page, pytest.raises(ConnectionLost, match="ended with 7"):
        page.ask({"do": "crash"})


def test_the_server_gives_nothing_that_was_not_sent(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "sleep").write_text("#!/bin/sh\nsleep 60\n")
    (tmp_path / "sleep").chmod(0o755)
    page = Page(str(tmp_path / "sleep"), tmp_path, {})
    with page:
        root = f"http://127.0.0.1:{page._server.server_port}"
        token = page._server.RequestHandlerClass.root  # type: ignore[attr-defined]
        for path in ("/", "/next", "/file/secret", f"{token}/file/secret", f"{token}/web/../secret", f"{token}/web/secret"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(root + path)
            assert refused.value.code == 404
            refused.value.close()
        with urllib.request.urlopen(f"{root}{token}/") as reply:
            assert b"measure.mjs" in reply.read() and reply.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert threading.active_count() < 20


def test_external_data_is_refused(tmp_path: Path) -> None:
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 17]> n (float[2] x) => (float[2] y) { y = Add (x, w) }')
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(2, np.float32), "w"))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    with pytest.raises(MachineError, match="save it as one file"):
        Browser("", tmp_path).send(tmp_path / "m.onnx")


@pytest.mark.slow
def test_for_real_where_it_is_installed(tmp_path: Path) -> None:
    target = load_target("browser-wasm")
    found = available(target)
    if not found.ok:
        pytest.skip("; ".join(found.reasons))
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]>
        n (float[N, 8] x, int64 k) => (float[N, 8] y) { c = Cast <to = 1> (k) y = Mul (x, c) }"""
    )
    onnx.save(model, tmp_path / "m.onnx")
    batch: dict[str, Any] = {"x": np.ones((3, 8), np.float32), "k": np.array(2)}
    result = profile({"m": tmp_path / "m.onnx"}, [batch], target=target, config=ProfileConfig(seconds=2.0))
    [variant] = result.variants
    assert result.provider == "wasm" and variant.n > 50 and variant.latency and variant.peak_rss_bytes is None
    assert json.dumps(result.facts(), allow_nan=False)
