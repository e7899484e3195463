"""A disk that fills up while a run writes: one line, nothing half-written, and the next run goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).parent / "tiny_recipe.toml"
_RUN = """
import resource, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
from edgeopt.cli import main
main()
"""


def run(folder: Path, limit: int) -> subprocess.CompletedProcess[str]:
    """Run the recipe where no file may grow beyond `limit` bytes, as on a full disk; -1: any size."""
    command = [sys.executable, "-c", _RUN, str(limit), "run", str(RECIPE), "--out", str(folder), "-q"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")
def test_a_full_disk_ends_the_run_in_one_line_and_the_next_one_goes_on(tmp_path: Path) -> None:
    for limit in (300, 20_000):
        full = run(tmp_path / "run", limit)
        assert full.returncode == 2, (limit, full.stderr)
        assert (full.stdout, len(full.stderr.strip().splitlines())) == ("", 1), (limit, full.stderr)
        assert full.stderr.startswith("edgeopt: ")
        assert "the disk is full; free some space and run again" in full.stderr, (limit, full.stderr)
        assert not list((tmp_path / "run").rglob("*.tmp"))
    whole = run(tmp_path / "run", -1)
    assert whole.returncode in (0, 1), whole.stderr
    assert list((tmp_path / "run").rglob("bundle.json"))
