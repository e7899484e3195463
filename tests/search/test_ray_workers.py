"""Trials on a Ray cluster of two nodes, started here on loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeopt import lifetime
from edgeopt.errors import MachineError
from edgeopt.search.ray_workers import RayWorkers, connect
from edgeopt.search.trial import Spec
from edgeopt.search.workers import Task

ray = pytest.importorskip("ray", reason="ray is not installed")
_RAY = Path(sys.executable).with_name("ray")


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _node(*options: str) -> subprocess.Popen[bytes]:
    quiet = ["--num-cpus=1", "--disable-usage-stats", "--block", "--object-store-memory=100000000"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [str(_RAY), "start", "--node-ip-address=127.0.0.1", *quiet, *options]
    return lifetime.start(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = _port()
    address = f"127.0.0.1:{port}"
    nodes = [_node("--head", f"--port={port}", "--include-dashboard=false")]
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        nodes.append(_node(f"--address={address}"))
        while True:
            try:
                connect(address)
                if len([node for node in ray.nodes() if node["Alive"]]) == 2:
                    break
            except MachineError:
                if time.monotonic() > until:
                    raise
            time.sleep(0.3)
        yield address, nodes[1]
    finally:
        ray.shutdown()
        for node in reversed(nodes):
            lifetime.end(node, grace_s=0)


def _task(folder: Path, recipe: dict[str, Any]) -> Task:
    return Task(folder, Spec(recipe, str(folder / "run"), str(folder / "store")))


def test_trials_run_on_both_nodes_and_survive_the_loss_of_one(
    cluster: tuple[str, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    address, second = cluster
    tasks = [_task(tmp_path / f"c{number}", {"name": "x", f"nonsense{number}": 1}) for number in range(2)]
    found = dict(RayWorkers(address, 2, time.monotonic() + 120).run(tasks))
    assert "nonsense0" in found[0].error and "nonsense1" in found[1].error
    assert json.loads((tmp_path / "c0" / "spec.json").read_text(encoding="utf-8"))["recipe"]["name"] == "x"
    lifetime.end(second, grace_s=0)  # a machine goes away
    again = dict(RayWorkers(address, 2, time.monotonic() + 120).run(tasks))
    assert "nonsense0" in again[0].error and "nonsense1" in again[1].error


def test_no_cluster_is_said_in_one_line(cluster: tuple[str, subprocess.Popen[bytes]]) -> None:
    ray.shutdown()
    with pytest.raises(MachineError, match=r"--ray 127\.0\.0\.1:\d+: no cluster answers"):
        connect(f"127.0.0.1:{_port()}")
