"""Start the server on a free port, put the bundle's golden raw inputs and bad requests through it, and stop it."""

from __future__ import annotations

import base64
import json
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
import zlib
from pathlib import Path
from typing import Any, Dict, List, Tuple

from inference.compare import disagreement

BUNDLE = Path(__file__).resolve().parent.parent / "bundle"


def main() -> int:
    """Return 0 if every answer is the recorded one and nothing dies."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "server", "--port", str(port)], cwd=BUNDLE.parent)
    try:
        address = f"http://127.0.0.1:{port}"
        wait(address, process)
        problems = [*golden(address), *bad(address), *pages(address)]
        process.send_signal(signal.SIGTERM)
        status = process.wait(30)
        if status not in (0, -signal.SIGTERM):
            problems.append(f"the server ended with status {status}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    for problem in problems:
        print(f"failed: {problem}")
    print("passed" if not problems else "FAILED")
    return int(bool(problems))


def wait(address: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the server takes requests."""
    for _ in range(600):
        if process.poll() is not None:
            sys.exit(f"the server ended with status {process.returncode}")
        try:
            if call(f"{address}/readyz")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit("the server was not ready within 60 s")


def call(url: str, body: Any = None, kind: str = "application/json") -> Tuple[int, bytes]:
    """Return status and body of a request."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": kind} if body is not None else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def golden(address: str) -> List[str]:
    """Return what is wrong with the answers to the golden raw inputs, sent as JSON, as bytes and as an upload."""
    manifest = json.loads((BUNDLE / "bundle.json").read_text(encoding="utf-8"))
    entries = manifest["golden"].get("raw", [])
    problems = [] if entries else ["the bundle has no golden raw inputs"]
    for index, entry in enumerate(entries):
        for way, (body, kind) in ways(entry["input"]).items():
            status, said = call(f"{address}/predict", body, kind)
            problem = (
                f"status {status}: {said[:200]!r}"
                if status != 200
                else disagreement(json.loads(said)["answer"], entry["answer"])
            )
            if problem:
                problems.append(f"raw input {index} as {way}: {problem}")
    print(f"{len(entries)} golden raw inputs sent")
    return problems


def ways(entry: Dict[str, Any]) -> Dict[str, Tuple[bytes, str]]:
    """Return the bodies that carry a raw input, with their content types."""
    if "text" in entry:
        return {"JSON": (json.dumps({"text": entry["text"]}).encode(), "application/json")}
    content = (BUNDLE / entry["file"]).read_bytes()
    mark = uuid.uuid4().hex
    head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="raw"\r\n\r\n'.encode()
    form = head + content + f"\r\n--{mark}--\r\n".encode()
    return {
        "JSON": (json.dumps({"data": base64.b64encode(content).decode()}).encode(), "application/json"),
        "bytes": (content, "application/octet-stream"),
        "an upload": (form, f"multipart/form-data; boundary={mark}"),
    }


def bad(address: str) -> List[str]:
    """Return which bad requests are not answered with a status of 4xx."""
    requests = {
        "no JSON": (b"{", "application/json"),
        "a JSON list": (b"[1]", "application/json"),
        "a wrong key": (b'{"txet": 1}', "application/json"),
        "deep JSON": (b"[" * 100000, "application/json"),
        "no base64": (b'{"data": "%%%"}', "application/json"),
        "nothing": (b"", "application/octet-stream"),
        "no file": (b"\x89PNG not a file", "application/octet-stream"),
        "half a character": (b'{"text": "\\ud800", "data": "\\ud800"}', "application/json"),
        "no kind of content": (b"\xff\xfe", "image/x-unknown"),
        "a form without a file": (b"--x--\r\n", "multipart/form-data; boundary=x"),
        "an endless image": (_endless_png(), "application/octet-stream"),
        "no array": (b"\x93NUMPY\x01\x00", "application/octet-stream"),
        "too much": (b"x" * ((16 << 20) + 1), "application/octet-stream"),
    }
    problems = []
    for name, (body, kind) in requests.items():
        try:
            status = call(f"{address}/predict", body, kind)[0]
        except OSError:  # the connection is closed before all of it is sent
            status = 413 if name == "too much" else 0
        if not 400 <= status < 500:
            problems.append(f"{name}: status {status}")
    return problems


def _endless_png() -> bytes:
    """Return the start of an image of 60,000 × 60,000 pixels."""
    size = struct.pack(">II", 60000, 60000) + b"\x08\x02\x00\x00\x00"
    head = b"IHDR" + size
    body = b"IDAT" + zlib.compress(bytes(1000))
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (head, body, b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def pages(address: str) -> List[str]:
    """Return which of the other addresses do not answer as they must."""
    wanted = {
        "/healthz": b"ok",
        "/readyz": b"ready",
        "/metrics": b"requests_total",
        "/docs": b"swagger",
        "/": b"<html",
        "/info": b"kind",
    }
    return [
        path for path, word in wanted.items() for status, said in [call(address + path)] if status != 200 or word not in said
    ]


if __name__ == "__main__":
    sys.exit(main())
