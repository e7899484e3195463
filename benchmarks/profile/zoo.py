"""`edgeopt profile` on every ONNX file of a folder with random inputs: none may end in a traceback or an internal error.

    python -m benchmarks.profile.zoo FOLDER      # about 2 seconds per model; exit code 1 if one does

What onnxruntime itself refuses (an invalid file, a shape that random inputs do not fit) is exit code 2 with one line, and
counts as an answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path


def problem(model: Path, *, seconds: float = 1.0) -> tuple[int, str]:
    """Return the exit code of `edgeopt profile`, and what is wrong with its answer: empty if nothing is."""
    command = [sys.executable, "-m", "edgeopt", "profile", str(model), "--seconds", str(seconds), "-q", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return 0, "" if json.loads(done.stdout)["variants"][0]["n"] > 0 else "no run was counted"
    one_line = done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    return done.returncode, "" if one_line else done.stderr.strip()


def main(arguments: Sequence[str]) -> int:
    """Profile every model of the folder and print what was found."""
    codes: Counter[int] = Counter()
    failed = 0
    for model in sorted(Path(arguments[0]).glob("*.onnx")):
        code, wrong = problem(model)
        codes[code] += 1
        failed += bool(wrong)
        print(f"{model.name}: exit code {code}{f': {wrong}' if wrong else ''}", flush=True)
    print(f"{sum(codes.values())} models; exit codes {dict(sorted(codes.items()))}; {failed} without a proper answer")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
