"""Kill an update of the Linux project at every system call that changes files; after each, a working slot must be in use.

    python -m benchmarks.deploy.killed PROJECT [--every N]      needs strace

The first run counts the calls; then one run for each N-th of them ends with SIGKILL when it enters that call.
"""

from __future__ import annotations

import argparse
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
                kill = [
                    "strace",
                    "-qq",
                    "-o",
                    "/dev/null",
                    "-e",
                    f"trace={call}",
                    "-e",
                    f"inject={call}:signal=SIGKILL:when={number}",
                ]
                subprocess.run([*kill, *install(project, root)], check=False, capture_output=True)
                kills += 1
                used = root / "current" / "bundle"
                verify = [sys.executable, "-B", str(used / "verify.py"), "--here", str(used)]
                done = subprocess.run(verify, check=False, capture_output=True)
                if done.returncode != 0:
                    bad += 1
                    print(f"killed at {call} {number}: the slot in use does not verify: {done.stdout[-300:]!r}")
        again = subprocess.run(install(project, root), check=False, capture_output=True)
        shutil.rmtree(root)
    print(json.dumps({"system_calls": counts.total(), "kills": kills, "broken": bad, "update_afterwards": again.returncode}))
    return int(bool(bad) or again.returncode != 0)


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
