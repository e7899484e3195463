"""Test the installation in a temporary folder: install, serve from the slot, refuse a broken update, roll back another."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import List

HERE = Path(__file__).resolve().parent


def slots(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run slots.py on the installation in `root`."""
    command = [sys.executable, str(HERE / "slots.py"), "--root", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def main() -> int:
    """Return 0 if a working slot is in use after every step."""
    problems: List[str] = []
    with tempfile.TemporaryDirectory() as folder:
        root, other = Path(folder) / "root", Path(folder) / "other"
        shutil.copytree(HERE, other, ignore=shutil.ignore_patterns(".venv", "__pycache__"))
        for expected in ("a", "b"):
            done = slots(root, "install", str(HERE))
            if done.returncode or os.path.basename(os.readlink(root / "current")) != expected:
                problems.append(f"slot {expected} was not installed: {done.stderr.strip()}")
        (other / "bundle" / "README.md").write_text("changed", encoding="utf-8")
        done = slots(root, "install", str(other))
        if (
            done.returncode != 1
            or "does not verify" not in done.stderr
            or os.path.basename(os.readlink(root / "current")) != "b"
        ):
            problems.append(f"a changed bundle was not refused: {done.stderr.strip()}")
        done = slots(root, "--health", "false", "install", str(HERE))
        if (
            done.returncode != 1
            or "back on slot b" not in done.stderr
            or os.path.basename(os.readlink(root / "current")) != "b"
        ):
            problems.append(f"an unhealthy update was not rolled back: {done.stderr.strip()}")
        print(slots(root, "status").stdout, end="")
        served = subprocess.run([sys.executable, "-B", "-m", "server.check"], cwd=root / "current", check=False)
        if served.returncode:
            problems.append("the server in the slot does not give the recorded answers")
    for problem in problems:
        print(f"failed: {problem}")
    print("FAILED" if problems else "installation: passed")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
