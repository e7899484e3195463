"""The generated server: batches no larger than the latency bound allows by what a sample took, and the model's threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from edgeopt._folders import shipped

SCRIPT = """
import asyncio, json, time
from types import SimpleNamespace
from server.batching import Batcher

class Model:
    sizes = []
    def batches(self): return True
    def finish(self, group):
        self.sizes.append(len(group))
        time.sleep(0.01 * len(group))
        return list(range(len(group)))

async def main():
    alone = Batcher(Model(), most=16, wait_s=0.0, queue=99)
    assert alone.largest == 16
    model = Model()
    batcher = Batcher(model, most=16, wait_s=0.004, queue=99, bound_s=0.104)
    first = batcher.largest
    batcher.took(4, 0.04)
    learned = batcher.largest
    batcher.took(1, 0.05)
    slow = batcher.largest
    for _ in range(60):
        batcher.took(4, 0.04)
    again = batcher.largest
    sample = SimpleNamespace(encoded=object())
    await asyncio.gather(*(batcher.answer(sample) for _ in range(24)))
    print(json.dumps([first, learned, slow, again, max(model.sizes), sum(model.sizes)]))
    for one in (alone, batcher):
        await one.close()

asyncio.run(main())
"""


def in_project(script: str, **variables: str) -> str:
    """Return what a script prints that may import the generated server."""
    deploy = shipped("deploy")
    path = os.pathsep.join([str(deploy / "runner"), str(deploy / "templates" / "serve" / "project")])
    environment = {**os.environ, **variables, "PYTHONPATH": path}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_batch_is_larger_than_half_of_the_bound_allows() -> None:
    first, learned, slow, again, largest, samples = json.loads(in_project(SCRIPT))
    assert (first, slow, samples) == (1, 1, 24)  # nothing is known; one slow run counts at once
    assert learned in (3, 4) and again in (3, 4)  # 0.8 × (104 − 4) ms / 2 at 10 ms for a sample
    assert 1 < largest <= 4


@pytest.mark.parametrize(
    ("cores", "given", "threads"), [("2", "", 1), ("1", "", 1), ("None", "", 1), ("16", "", 8), ("16", "0", 0)]
)
def test_half_of_the_cores_are_left_to_http(cores: str, given: str, threads: int) -> None:
    script = f"import os; os.cpu_count = lambda: {cores}; from server.app import THREADS; print(THREADS)"
    assert int(in_project(script, THREADS=given)) == threads
