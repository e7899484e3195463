"""Fuzz generated projects: damaged bundles and inputs through the C++ program (with AddressSanitizer), Node and Python.

    python -m benchmarks.sweep.apps cpp PROJECT --seconds 600        needs cmake and a compiler with the sanitizers
    python -m benchmarks.sweep.apps node PROJECT --seconds 600       after the project's `make setup`
    python -m benchmarks.sweep.apps python BUNDLE --seconds 600

What is damaged is read or refused in one line; a crash, a hang, a report of a sanitizer or a file outside of the bundle is a
fault. The case that shows it is kept below build/sweep, and the exit code is 1. Seconds are those of a processor, so that a
machine that does other things as well makes the same number of cases, and no slow one of them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.sweep.readers import mutated
from edgeopt.device_code import inference

_KEPT = Path("build/sweep")
_PATIENCE_S = 60
_LONGEST_WAIT_S = 3600
_MODEL = ("model.onnx", "model.ort")
_FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -O1 -g"
_SANITIZER = {
    "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:hard_rss_limit_mb=4000",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


def main() -> int:
    """Return 0 if nothing crashed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("kind", choices=("cpp", "node", "python"))
    parser.add_argument("project", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0, help="of processor time")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    run = {"cpp": fuzz_cpp, "node": fuzz_node, "python": fuzz_python}[options.kind]
    found = run(options.project.resolve(), options.seconds, options.seed)
    print(json.dumps({"kind": options.kind, "project": options.project.name, "seed": options.seed, **found}))
    return int(bool(found["wrong"]))


def fuzz_node(project: Path, seconds: float, seed: int) -> dict[str, Any]:
    """Run ``apps.mjs``, again where a case ends its process."""
    end, total = children_s() + seconds, {"cases": 0, "read": 0, "refused": 0, "wrong": []}
    while (left := end - children_s()) > 1:
        command = [
            "node",
            "--max-old-space-size=3000",
            str(Path(__file__).with_suffix(".mjs")),
            str(project),
            str(left),
            str(seed),
        ]
        done = limited(command, left + _PATIENCE_S)
        last = json.loads(done.stdout.splitlines()[-1])
        if "wrong" not in last:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [""]
            total["wrong"].append(f"seed {seed} ended with {done.returncode} at {last}: {said[0][:200]}")  # type: ignore[attr-defined]
            last = {"cases": last["case"] + 1, "read": 0, "refused": 0, "wrong": []}
        for key, value in last.items():
            total[key] += value
        seed += 1000
    return total


def children_s() -> float:
    """Return the processor time of the processes that have ended so far."""
    times = os.times()
    return times.children_user + times.children_system


def limited(
    command: list[str], seconds: float, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command that is ended after this many seconds of processor time (SIGXCPU)."""
    words = ["prlimit", f"--cpu={int(seconds) + 1}", *command]
    return subprocess.run(words, capture_output=True, env=environment, check=False, timeout=_LONGEST_WAIT_S)


def fuzz_cpp(project: Path, seconds: float, seed: int) -> dict[str, Any]:
    """Build the program with the sanitizers, and run it once for each case."""
    build = project / "build-sanitized"
    settings = [f"-DCMAKE_CXX_FLAGS={_FLAGS}", "-DCMAKE_BUILD_TYPE=Debug"]
    subprocess.run(["cmake", "-S", str(project), "-B", str(build), *settings], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", str(build)], check=True, capture_output=True)
    generator, end = random.Random(seed), children_s() + seconds
    total: dict[str, Any] = {"cases": 0, "read": 0, "refused": 0, "wrong": []}
    manifest = json.loads((project / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "bundle"
        shutil.copytree(project / "bundle", copy, ignore=lambda _, names: [name for name in names if name in _MODEL])
        for name in _MODEL:
            if (project / "bundle" / name).exists():
                (copy / name).symlink_to(project / "bundle" / name)
        while children_s() < end:
            arguments, kept = cpp_case(project, copy, manifest, generator)
            problem, refused = run_cpp(build / "app", project, arguments)
            total["cases"] += 1
            total["refused" if refused else "read"] += 1
            if problem:
                total["wrong"].append(f"{problem} ({keep(kept, project.name, total['cases'])})")
            for path in kept:
                if path.is_relative_to(copy):
                    shutil.copyfile(project / "bundle" / path.relative_to(copy), path)
    return total


def cpp_case(project: Path, copy: Path, manifest: dict[str, Any], generator: random.Random) -> tuple[list[str], list[Path]]:
    """Damage something; return the arguments that read it, and the files that are damaged."""
    entries = manifest["golden"]["raw"]
    kind = generator.randrange(3)
    if kind == 0:
        given = generator.choice(entries)["input"]
        if "text" in given:
            content = mutated(
                " ".join([given["text"]] if isinstance(given["text"], str) else given["text"]).encode(), generator
            )
            text = content.replace(b"\x00", b"").decode("utf-8", "surrogateescape")
            return ["--bundle", str(copy), "--", *([text] * (2 if manifest["preprocessing"].get("pair") else 1))], []
        path = copy.parent / f"input{Path(given['file']).suffix}"
        path.write_bytes(mutated((project / "bundle" / given["file"]).read_bytes(), generator))
        return ["--bundle", str(copy), str(path)], [path]
    names = ["bundle.json"]
    if manifest["preprocessing"]["kind"] == "tokenizer":
        names.append(manifest["preprocessing"]["file"])
    name = generator.choice(names)
    (copy / name).write_bytes(mutated((project / "bundle" / name).read_bytes(), generator))
    return ["--bundle", str(copy), "--golden"], [copy / name]


def run_cpp(program: Path, project: Path, arguments: list[str]) -> tuple[str | None, bool]:
    """Return what is wrong with a run, and whether it refused what it read."""
    command = [str(program), "--library", str(project / "lib" / "libonnxruntime.so"), "--table", str(project / "unicode.txt")]
    environment = {**os.environ, **_SANITIZER}
    done = limited([*command, *arguments], _PATIENCE_S, environment)
    said = done.stderr.decode("utf-8", "replace")
    if done.returncode not in (0, 1, 2) or "Sanitizer" in said or "runtime error" in said:
        at = next((line for line in said.splitlines() if "ERROR" in line or "runtime error" in line), said[:200])
        return f"exit status {done.returncode}: {at[:300]}", False
    return None, done.returncode != 0


def fuzz_python(bundle: Path, seconds: float, seed: int) -> dict[str, Any]:
    """Put damaged raw inputs through the code that travels with bundles; each is answered or a ValueError of one line."""
    code = inference("pipeline").Bundle(str(bundle), threads=1)
    generator, end = random.Random(seed), time.process_time() + seconds
    total: dict[str, Any] = {"cases": 0, "read": 0, "refused": 0, "wrong": []}
    entries = [entry["input"] for entry in code.manifest["golden"]["raw"]]
    while time.process_time() < end:
        given = generator.choice(entries)
        is_text = "text" in given
        content = mutated(str(given["text"]).encode() if is_text else (bundle / given["file"]).read_bytes(), generator)
        text = content.decode("utf-8", "surrogatepass" if generator.random() < 0.1 else "replace") if _decodes(content) else "x"
        raw: Any = ((text, text) if code.steps.get("pair") else text) if is_text else content
        total["cases"] += 1
        start = time.process_time()
        try:
            code.predict(raw)
            total["read"] += 1
        except ValueError as error:
            total["refused"] += 1
            if "\n" in str(error):
                total["wrong"].append(f"two lines: {str(error)[:200]!r}")
        except Exception as error:  # noqa: BLE001  (that is what is looked for)
            path = _KEPT / f"python-{bundle.name}-{total['cases']}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            total["wrong"].append(f"{type(error).__name__}: {str(error)[:200]} ({path})")
        if time.process_time() - start > _PATIENCE_S:
            total["wrong"].append(f"case {total['cases']} took {time.process_time() - start:.0f} s")
    return total


def _decodes(content: bytes) -> bool:
    try:
        content.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def keep(files: list[Path], project: str, number: int) -> str:
    """Copy damaged files to where they can be looked at, and return the place."""
    place = _KEPT / f"{project}-{number}"
    place.mkdir(parents=True, exist_ok=True)
    for path in files:
        shutil.copyfile(path, place / path.name)
    return str(place)


if __name__ == "__main__":
    sys.exit(main())
