"""Deploy bundles to every platform and run each project's own `make setup` and `make test`; write a table.

    python -m benchmarks.deploy --work build/deploy-test [--output docs/deploy-test.md] [BUNDLE…]

Without bundles those of `benchmarks.deploy.bundles` are made (they need EDGEOPT_DATA). What `make setup` installs (an
environment, node_modules, a library) is shared by the projects of one platform whose requirements are the same, so that each
registry is asked once. On emulated arm64 the C++ project is cross-compiled and run by the emulator of `arm64-emulated`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.deploy.bundles import BUNDLES, bundle_of
from edgeopt import __version__
from edgeopt.bundle.deploy import Platform, deploy_bundle
from edgeopt.errors import EdgeoptError
from edgeopt.machine import describe

MADE = (".venv", "node_modules", "ort", "lib", "lib-aarch64", "host")
PROGRAMS = ("build/app", "build-aarch64/app")
_LIMIT_S = 900
_ARM64 = Path("~/.cache/edgeopt/arm64").expanduser()
_EMULATOR = f"{_ARM64}/emulator/usr/bin/qemu-aarch64 -cpu cortex-a76 -L {_ARM64}/root"


@dataclass(frozen=True)
class Way:
    """One row of the table: a platform, and the targets of its Makefile that install and test."""

    name: str
    platform: Platform
    setup: str = "setup"
    test: tuple[str, ...] = ("test",)
    how: str = ""


WAYS = (
    Way("python", Platform.PYTHON, how="`python -m app --golden`"),
    Way("serve", Platform.SERVE, how="requests as JSON, upload and bytes; bad ones must be answered with 4xx"),
    Way("cpp, x86-64", Platform.CPP, how="`app --golden`"),
    Way(
        "cpp, aarch64",
        Platform.CPP,
        "emulator",
        ("test-cross", f"ROOT={_ARM64}/root", f"QEMU={_EMULATOR}"),
        "cross-compiled, under qemu-user (cortex-a76)",
    ),
    Way("web", Platform.WEB, how="headless Chromium, online and then without a server"),
    Way("node", Platform.NODE, how="`node main.mjs --golden`"),
    Way("linux", Platform.LINUX, how="two slots, refused and rolled back updates, then the server in the slot"),
    Way("docker", Platform.DOCKER, how="Dockerfile linted, its server outside a container; the image is not built"),
    Way(
        "android, on a JVM",
        Platform.ANDROID,
        test=(),
        how="its Kotlin compiled (npm's kotlin-compiler, declarations for Android's), golden inputs through Model.kt and JNI",
    ),
    Way(
        "android",
        Platform.ANDROID,
        how="resources and manifest by aapt2, where it is; its native code on this machine; the APK is not built",
    ),
)


_HEAD = """\
# Every platform with every bundle

`make deploy-test` makes a project of every bundle for every platform, installs what its `make setup` names from PyPI, npm and
Debian, and runs its `make test`: the bundle's golden raw inputs (JPEG, PNG, .wav, sentences) go through the app itself, and its
answers are compared with the recorded ones. Passed: every answer is the recorded one, within the tolerances of
`inference/compare.py`. The bundles are those of the recipes, int8, made with little training.

"""


@dataclass(frozen=True)
class Tried:
    """What came of one project: passed, failed or refused, what it said last, and the seconds of its test."""

    way: str
    bundle: str
    result: str
    said: str
    seconds: float = 0.0


def main() -> int:
    """Return 0 if every project passes its test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("bundles", nargs="*", type=Path)
    parser.add_argument("--work", type=Path, default=Path("build/deploy-test"))
    parser.add_argument("--ways", default=";".join(way.name for way in WAYS), metavar="NAMES", help="separated by ;")
    parser.add_argument("--output", type=Path, help="Markdown file of the table")
    options = parser.parse_args()
    bundles = options.bundles or [bundle_of(name, options.work) for name in BUNDLES]
    options.work.mkdir(parents=True, exist_ok=True)
    record = options.work / "tried.jsonl"
    for way in (way for way in WAYS if way.name in options.ways.split(";")):
        made: dict[str, Path] = {}
        for bundle in bundles:
            found = tried(way, bundle, options.work, made)
            print(json.dumps(asdict(found)), flush=True)
            with record.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(found)) + "\n")
    lines = record.read_text(encoding="utf-8").splitlines()
    rows = {(row.way, row.bundle): row for row in (Tried(**json.loads(line)) for line in lines)}  # the last try counts
    if options.output:
        options.output.write_text(page(rows, options.work), encoding="utf-8")
    return int(any(row.result != "passed" for row in rows.values()))


def tried(way: Way, bundle: Path, work: Path, made: dict[str, Path]) -> Tried:
    """Return what came of one project."""
    folder = (work / f"{way.name.replace(', ', '-').replace(' ', '-')}-{bundle.name}").resolve()
    try:
        deploy_bundle(bundle, way.platform, output=folder)
    except EdgeoptError as error:
        return Tried(way.name, bundle.name, "refused", str(error))
    key = requirements(folder)
    if key in made:
        share(made[key], folder)
    else:
        done = emulator() if way.setup == "emulator" else make(folder, way.setup)
        if done.returncode:
            return Tried(way.name, bundle.name, "failed", f"make {way.setup}: {last(done)}")
    start = time.perf_counter()
    done = make(folder, *way.test, *(["-o", "cross"] if key in made else [])) if way.test else on_a_jvm(folder, work)
    made.setdefault(key, folder)
    result = "failed" if done.returncode else "passed"
    return Tried(way.name, bundle.name, result, last(done), round(time.perf_counter() - start, 1))


def emulator() -> subprocess.CompletedProcess[str]:
    """Make the emulated device, where it is not there."""
    command = ["sh", str(Path(__file__).parents[2] / "deploy" / "emulators" / "arm64.sh")]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT_S)


def on_a_jvm(project: Path, work: Path) -> subprocess.CompletedProcess[str]:
    """Compile the Kotlin of an Android project, and put its golden raw inputs through it."""
    place = (work / "kotlin").resolve()
    compiler = place / "node_modules" / "kotlin-compiler" / "bin" / "kotlinc"
    if not compiler.is_file():
        command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(place), "kotlin-compiler"]
        subprocess.run(command, check=True, capture_output=True)
        compiler.chmod(0o755)
    command = [sys.executable, "-m", "benchmarks.deploy.kotlin", str(project), "--kotlinc", str(compiler)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT_S)


def requirements(folder: Path) -> str:
    """Return what decides what `make setup` installs."""
    files = [folder / name for name in ("requirements.txt", "package.json", "CMakeLists.txt", "host-build/CMakeLists.txt")]
    texts = [path.read_text(encoding="utf-8") for path in files if path.is_file()]
    return "".join(text.partition('"dependencies"')[2] or text for text in texts)


def share(source: Path, folder: Path) -> None:
    """Give a project what `make setup` made for another."""
    for name in MADE:
        if (source / name).is_dir():
            (folder / name).symlink_to(source / name)
    for name in PROGRAMS:  # (they look for their bundle beside themselves)
        if (source / name).is_file():
            (folder / name).parent.mkdir()
            shutil.copy2(source / name, folder / name)


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a target of a project's Makefile, with variables."""
    command = ["make", "--no-print-directory", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT_S)


def last(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line that says something."""
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip() and not line.startswith("make")]
    return lines[-1][:160] if lines else ""


def page(rows: dict[tuple[str, str], Tried], work: Path) -> str:
    """Return the table, platforms down and bundles across, with versions and the machine."""
    bundles = list(dict.fromkeys(bundle for _, bundle in rows))
    head = [f"| platform | {' | '.join(bundles)} | how |", f"|---|{'---|' * (len(bundles) + 1)}"]
    lines = [*_HEAD.splitlines(), *head]
    for way in WAYS:
        cells = [rows[way.name, bundle].result if (way.name, bundle) in rows else "not run" for bundle in bundles]
        lines.append(f"| {way.name} | {' | '.join(cells)} | {way.how} |")
    lines += ["", *(f"- {row.way}, {row.bundle}: {row.said}" for row in rows.values() if row.result != "passed")]
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    lines += ["", f"{today}, {describe()['processor']}, edgeopt {__version__}; {'; '.join(versions(work))}.", ""]
    return "\n".join(lines)


def versions(work: Path) -> list[str]:
    """Return the versions of what the projects installed and of the programs that ran them."""
    found = []
    for place in sorted(work.glob("python-*/.venv")):
        done = subprocess.run([f"{place}/bin/pip", "list", "--format=freeze"], capture_output=True, text=True, check=False)
        found += [line for line in done.stdout.splitlines() if line.startswith(("onnxruntime=", "numpy="))]
    for place in work.glob("*/node_modules/onnxruntime-*/package.json"):
        values = json.loads(place.read_text(encoding="utf-8"))
        found.append(f"{values['name']} {values['version']}")
    commands = (["node"], ["g++"], ["aarch64-linux-gnu-g++"], ["chromium"], [f"{_ARM64}/emulator/usr/bin/qemu-aarch64"])
    for command in commands:
        try:
            done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
        except OSError:
            continue
        number = re.search(r"\d+(\.\d+)+", done.stdout)
        found.append(f"{Path(command[0]).name} {number[0] if number else ''}")
    return list(dict.fromkeys(line.replace("==", " ") for line in found))


if __name__ == "__main__":
    sys.exit(main())
