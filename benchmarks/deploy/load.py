"""Load on a generated server, beside a plain batched loop of session.run: throughput, and latency at 80 % of it.

    python -m benchmarks.deploy.load PROJECT       a project of `edgeopt deploy --to serve`, after `make setup`

The clients are processes of their own on the same machine, so that on few cores they take their share from the server; the loop
has the machine to itself. Requests are the bundle's golden raw inputs, in turn, on kept connections.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LOOP = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from inference.pipeline import Bundle
from inference.golden import raw_of
bundle = Bundle(sys.argv[1] + "/bundle", threads=int(sys.argv[3]))
raws = [raw_of(bundle, entry) for entry in bundle.manifest["golden"]["raw"]]
size, end, count = (16 if bundle.batches() else 1), time.perf_counter() + float(sys.argv[2]), 0
prepared = [bundle.prepare(raws[k % len(raws)]) for k in range(size)]
bundle.finish(prepared)
start = time.perf_counter()
while time.perf_counter() < end:
    prepared = [bundle.prepare(raws[k % len(raws)]) for k in range(size)]
    bundle.finish(prepared)
    count += size
print(json.dumps(count / (time.perf_counter() - start)))
"""


def main() -> int:
    """Print throughput of loop and server, and the latency at 80 % load."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("project", type=Path)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--bound", type=float, default=100.0, metavar="MS", help="latency bound (LATENCY_MS); 0: none")
    parser.add_argument(
        "--threads",
        type=int,
        default=max(1, (os.cpu_count() or 2) // 2),
        help="that run the model, in the loop and in the server; 0: all cores; default: half of them, as the server's",
    )
    options = parser.parse_args()
    project = options.project.resolve()
    python = str(project / ".venv" / "bin" / "python")
    command = [python, "-c", LOOP, str(project), str(options.seconds), str(options.threads)]
    plain = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "LATENCY_MS": str(options.bound), "THREADS": str(options.threads)}
    server = subprocess.Popen([python, "-m", "server", "--port", str(port)], cwd=project, env=environment)
    try:
        requests = bodies(project)
        asyncio.run(ready(port))
        asyncio.run(closed(port, requests, 4, 1.0))
        latencies = asyncio.run(closed(port, requests, options.clients, options.seconds))
        rate = len(latencies) / options.seconds
        paced = asyncio.run(opened(port, requests, 0.8 * rate, options.seconds))
    finally:
        server.terminate()
        server.wait(40)
    row = {"loop_per_s": round(plain, 1), "server_per_s": round(rate, 1), "share": round(rate / plain, 3)}
    row |= {f"p{q}_ms_at_80": round(1000 * sorted(paced)[int(len(paced) * q / 100)], 2) for q in (50, 95, 99)}
    late = sum(1000 * seconds > options.bound for seconds in paced) if options.bound else 0
    row |= {"threads": options.threads, "bound_ms": options.bound, "requests": len(paced), "late": late}
    print(json.dumps(row))
    return int(bool(options.bound) and row["p95_ms_at_80"] > options.bound)


def bodies(project: Path) -> list[bytes]:
    """Return the golden raw inputs as HTTP requests."""
    manifest = json.loads((project / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    made = []
    for entry in manifest["golden"]["raw"]:
        given = entry["input"]
        is_file = "file" in given
        body = (project / "bundle" / given["file"]).read_bytes() if is_file else json.dumps({"text": given["text"]}).encode()
        kind = "application/octet-stream" if is_file else "application/json"
        made.append(
            f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
    return made


async def ready(port: int) -> None:
    """Wait until the server takes connections."""
    for _ in range(600):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
            continue
        writer.close()
        return
    sys.exit("the server did not start")


async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
    """Send one request and read its answer."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        sys.exit(head.decode("latin-1"))
    length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    await reader.readexactly(length)


async def closed(port: int, requests: list[bytes], clients: int, seconds: float) -> list[float]:
    """Return the latencies of `clients` that each ask again as soon as they are answered."""
    end, latencies = time.perf_counter() + seconds, []

    async def client(number: int) -> None:
        connection = await asyncio.open_connection("127.0.0.1", port)
        while (start := time.perf_counter()) < end:
            await asked(*connection, requests[number % len(requests)])
            latencies.append(time.perf_counter() - start)
        connection[1].close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return latencies


async def opened(port: int, requests: list[bytes], rate: float, seconds: float) -> list[float]:
    """Return the latencies of requests that come at a steady rate, whether or not the ones before are answered."""
    free: asyncio.Queue[Any] = asyncio.Queue()
    latencies: list[float] = []
    begin = time.perf_counter()

    async def one(number: int, due: float) -> None:
        connection = free.get_nowait() if not free.empty() else await asyncio.open_connection("127.0.0.1", port)
        await asked(*connection, requests[number % len(requests)])
        latencies.append(time.perf_counter() - due)
        free.put_nowait(connection)

    tasks = []
    for number in range(int(rate * seconds)):
        due = begin + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(number, due)))
    await asyncio.gather(*tasks)
    return latencies


if __name__ == "__main__":
    sys.exit(main())
