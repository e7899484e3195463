"""A study in a database that several searches share: a real PostgreSQL, started here."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeopt.search.knobs import Knob
from edgeopt.search.study import Study

_KNOBS = (Knob("prune.macs", (0.5, 0.7, 0.9)), Knob("quantize.scheme", ("static", "dynamic")))


def _programs() -> Path | None:
    """Return the folder with initdb and postgres, from the PATH or from Debian's package."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders else None


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="edgeopt-postgres-"))  # pytest's own folders are closed to other users
    data = folder / "data"
    user = []
    if os.geteuid() == 0:  # the server refuses to run as root
        if not shutil.which("runuser"):
            pytest.skip("PostgreSQL does not run as root, and runuser is not here")
        shutil.chown(folder, "postgres")
        user = ["runuser", "-u", "postgres", "--"]
    subprocess.run(
        [*user, str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "edge"], check=True, capture_output=True
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = f"-p {port} -h 127.0.0.1 -k {data} -F"
    control = [*user, str(programs / "pg_ctl"), "-D", str(data), "-w"]
    subprocess.run([*control, "-o", options, "-l", str(data / "log"), "start"], check=True, stdout=subprocess.DEVNULL)
    try:
        yield f"postgresql+psycopg://edge@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(folder)


def test_two_searches_share_the_work(database: str, tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    one, other = (Study(_KNOBS, database, tmp_path / "same", seed=seed) for seed in (0, 1))
    mine, theirs = one.propose(2), other.propose(2)
    settings = [str(candidate.setting) for candidate in (*mine, *theirs)]
    assert len(set(settings)) == 4
    for study, candidates in ((one, mine), (other, theirs)):
        for candidate in candidates:
            study.report(candidate, 0.9, {"p50_ms": 1.0, "size_bytes": 5.0}, 0.0)
    left = Study(_KNOBS, database, tmp_path / "same", seed=2).propose(6)
    assert len(left) == 2 and not {str(candidate.setting) for candidate in left} & set(settings)
