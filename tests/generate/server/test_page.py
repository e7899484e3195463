"""The page in a real browser of a phone's size, driven through Chromium's pipe; skipped where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgeopt import lifetime
from edgeopt.targets.transports.browser import find_browser
from tests.generate.server.conftest import Running

FLAGS = ("--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--remote-debugging-pipe")
PHONE = {"width": 390, "height": 700, "deviceScaleFactor": 1, "mobile": True}


class Browser:
    """A page in a browser, spoken to over a pipe."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back, self._held, self._number = to, back, b"", 0
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = ""
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if getattr(self, "_session", ""):
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._held:
                self._held += os.read(self._back, 1 << 16)
            line, _, self._held = self._held.partition(b"\0")
            answer = json.loads(line)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def run(self, code: str) -> Any:
        return self.call("Runtime.evaluate", expression=code, returnByValue=True)["result"].get("value")

    def wait_for(self, code: str) -> None:
        end = time.monotonic() + 60
        while not self.run(code):
            assert time.monotonic() < end, f"{code} did not become true: {self.run('document.body.innerText')!r}"
            time.sleep(0.05)


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium is installed")
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    command = [program, *FLAGS, *as_root, f"--user-data-dir={profile}"]
    shell = ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "browser", *command]
    process = lifetime.start(shell, pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(ours_out, ours_in)
    finally:
        process.terminate()
        lifetime.end(process, grace_s=10.0)
        os.close(ours_out)
        os.close(ours_in)


def test_a_question_is_answered_on_a_phone(server: Running, tmp_path: Path) -> None:
    with browser(tmp_path) as page:
        page.call("Emulation.setDeviceMetricsOverride", **PHONE)
        page.call("Page.navigate", url=server.address)
        page.wait_for("document.readyState === 'complete' && !!document.getElementById('send')")
        assert page.run("document.title") == "tiny"
        page.run("document.getElementById('most').value = 20")
        page.run("document.getElementById('text').value = '<b>Hello</b>'; document.getElementById('form').requestSubmit()")
        page.wait_for("document.querySelector('.note')?.innerText.includes('tokens')")
        assert page.run("document.querySelector('.user').innerText") == "<b>Hello</b>"
        assert page.run("document.querySelector('.assistant').innerText.length") > 0
        assert page.run("document.querySelectorAll('.bad').length") == 0
        assert page.run("document.scrollingElement.scrollWidth <= window.innerWidth"), "the page is wider than the phone"
        small = (
            "[...document.querySelectorAll('header button, #send')].filter(b => b.getBoundingClientRect().height < 44).length"
        )
        assert page.run(small) == 0, "a button is too small for a finger"
        loaded = page.run("performance.getEntriesByType('resource').map(entry => entry.name)")
        assert all(name.startswith((server.address, "data:")) for name in loaded), loaded
        page.run("document.getElementById('text').value = 'again'; document.getElementById('form').requestSubmit()")
        page.wait_for("document.querySelectorAll('.note').length === 2")
        page.run("document.getElementById('fresh').click()")
        assert page.run("document.querySelectorAll('.turn').length") == 0
