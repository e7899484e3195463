"""Kill an update of the Linux project at every system call that touches files; after each, a working slot must be in use.

    python -m benchmarks.deploy.killed PROJECT [--every N]      needs strace

The first run counts the calls of the updater (not those of the verifier that it starts, which writes nothing); then one run for
each N-th of them ends with SIGKILL when it enters that call. After each kill every file of the slot in use must be that of the
project, byte by byte; every 25th time, and at the end, the slot's own verify.py runs as well.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

CALLS = (
    "openat,write,mkdir,unlink,unlinkat,rmdir,rename,renameat,renameat2,symlink,symlinkat,fsync,copy_file_range,sendfile,chmod"
)


def main() -> int:
    """Return 0 if `current` names a bundle that verifies after every kill."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("project", type=Path)
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    project = options.project.resolve()
    bad = kills = 0
    with tempfile.TemporaryDirectory() as folder:
        root, trace = Path(folder) / "root", Path(folder) / "trace"
        for _ in range(2):
            subprocess.run(install(project, root), check=True, capture_output=True)
        subprocess.run(
            ["strace", "-qq", "-o", str(trace), "-e", f"trace={CALLS}", *install(project, root)],
            check=True,
            capture_output=True,
        )
        counts = Counter(line.partition("(")[0] for line in trace.read_text(errors="replace").splitlines())
        for call, count in sorted(counts.items()):
            for number in range(1, count + 1, options.every):
                inject = f"inject={call}:signal=SIGKILL:when={number}"
                kill = ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject]
                subprocess.run([*kill, *install(project, root)], check=False, capture_output=True)
                kills += 1
                problem = broken(project, root, run=kills % 25 == 0)
                if problem is not None:
                    bad += 1
                    print(f"killed at {call} {number}: {problem}")
        again = subprocess.run(install(project, root), check=False, capture_output=True)
        bad += broken(project, root, run=True) is not None
        shutil.rmtree(root)
    print(json.dumps({"system_calls": counts.total(), "kills": kills, "broken": bad, "update_afterwards": again.returncode}))
    return int(bool(bad) or again.returncode != 0)


def broken(project: Path, root: Path, *, run: bool) -> str | None:
    """Return what is wrong with the slot in use, or None; `run` runs its verifier, too."""
    used = root / "current"
    for part in ("server", "inference", "bundle"):
        wanted, found = contents(project / part), contents(used / part)
        if wanted != found:
            return f"{part} is not the project's: {sorted(set(wanted.items()) ^ set(found.items()))[:3]}"
    if run:
        command = [sys.executable, "-B", str(used / "bundle" / "verify.py"), "--here", str(used / "bundle")]
        done = subprocess.run(command, check=False, capture_output=True)
        if done.returncode != 0:
            return f"it does not verify: {done.stdout[-300:]!r}"
    return None


def contents(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def install(project: Path, root: Path) -> list[str]:
    """Return the command that installs the project."""
    return [
        sys.executable,
        "-B",
        str(project / "slots.py"),
        "--root",
        str(root),
        "--python",
        sys.executable,
        "install",
        str(project),
    ]


if __name__ == "__main__":
    sys.exit(main())
