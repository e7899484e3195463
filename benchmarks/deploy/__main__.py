"""Deploy bundles to every platform and run each project's own `make setup` and `make test`; print a table.

    python -m benchmarks.deploy --work build/deploy-test BUNDLE…

What `make setup` installs (an environment, node_modules, a library) is shared by the projects of one platform whose
requirements are the same, so that each registry is asked once.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from edgeopt.bundle.deploy import Platform, deploy_bundle
from edgeopt.errors import EdgeoptError

MADE = (".venv", "node_modules", "ort", "lib", "build", "host")
_LIMIT_S = 900


def main() -> int:
    """Return 0 if every project passes its test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--work", type=Path, default=Path("build/deploy-test"))
    parser.add_argument("--platforms", default=",".join(platform.value for platform in Platform))
    options = parser.parse_args()
    rows = []
    for platform in (Platform(name) for name in options.platforms.split(",")):
        made: dict[str, Path] = {}
        for bundle in options.bundles:
            rows.append({"platform": platform.value, "bundle": bundle.name, **tried(platform, bundle, options.work, made)})
            print(json.dumps(rows[-1]), flush=True)
    print_table(rows, [bundle.name for bundle in options.bundles])
    return int(any(row["result"] == "failed" for row in rows))


def tried(platform: Platform, bundle: Path, work: Path, made: dict[str, Path]) -> dict[str, str | float]:
    """Return what came of one project: passed, failed or refused, and the seconds of its test."""
    folder = (work / f"{platform.value}-{bundle.name}").resolve()
    try:
        deploy_bundle(bundle, platform, output=folder)
    except EdgeoptError as error:
        return {"result": "refused", "said": str(error)}
    key = requirements(folder)
    if key in made:
        share(made[key], folder)
    else:
        done = make(folder, "setup")
        if done.returncode:
            return {"result": "failed", "said": f"make setup: {last(done)}"}
        made[key] = folder
    start = time.perf_counter()
    done = make(folder, "test")
    return {
        "result": "failed" if done.returncode else "passed",
        "said": last(done),
        "seconds": round(time.perf_counter() - start, 1),
    }


def requirements(folder: Path) -> str:
    """Return what decides what `make setup` installs."""
    files = [folder / name for name in ("requirements.txt", "package.json", "CMakeLists.txt")]
    texts = [path.read_text(encoding="utf-8") for path in files if path.is_file()]
    return "".join(text.partition('"dependencies"')[2] or text for text in texts)


def share(source: Path, folder: Path) -> None:
    """Give a project what `make setup` made for another."""
    for name in MADE:
        if (source / name).is_dir():
            (folder / name).symlink_to(source / name)


def make(folder: Path, target: str) -> subprocess.CompletedProcess[str]:
    """Run a target of a project's Makefile."""
    command = ["make", "--no-print-directory", "-C", str(folder), target]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT_S)


def last(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line that says something."""
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip() and not line.startswith("make")]
    return lines[-1][:160] if lines else ""


def print_table(rows: list[dict[str, str | float]], bundles: list[str]) -> None:
    """Print a Markdown table, platforms down and bundles across."""
    print(f"| platform | {' | '.join(bundles)} |\n|---|{'---|' * len(bundles)}")
    for platform in dict.fromkeys(row["platform"] for row in rows):
        cells = {row["bundle"]: row["result"] for row in rows if row["platform"] == platform}
        print(f"| {platform} | {' | '.join(str(cells.get(name, '')) for name in bundles)} |")


if __name__ == "__main__":
    sys.exit(main())
