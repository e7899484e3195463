"""Check what can be checked without the Android SDK: resources, manifest, Gradle files, and the native code.

The native code is the whole way from raw data to the answer; it is compiled with the compiler of this machine and puts the
golden raw inputs of the bundle through itself. The Kotlin around it is only looked at: every resource and native function that
it names exists.
"""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as Xml
from pathlib import Path
from typing import List

HERE = Path(__file__).resolve().parent
MAIN = HERE / "app" / "src" / "main"


def main() -> int:
    """Return 0 if nothing is wrong."""
    problems = [*resources(), *native_functions(), *brackets()]
    for problem in problems:
        print(f"failed: {problem}")
    if not problems:
        print("resources, manifest, native functions and brackets: passed (looked at, not built: no Android SDK was used)")
    return int(bool(problems)) or golden()


def resources() -> List[str]:
    """Return which XML files are not well-formed, and which resources are named and missing."""
    problems, known = [], set()
    for path in sorted(MAIN.rglob("*.xml")):
        try:
            root = Xml.parse(path).getroot()
        except Xml.ParseError as error:
            problems.append(f"{path.relative_to(HERE)}: {error}")
            continue
        if path.parent.name == "values":
            known |= {f"{child.tag}/{child.get('name')}" for child in root}
        elif path.parent.name == "layout":
            known.add(f"layout/{path.stem}")
            known |= {f"id/{name}" for name in re.findall(r"@\+id/(\w+)", path.read_text(encoding="utf-8"))}
    for path in [*MAIN.rglob("*.xml"), *MAIN.rglob("*.kt")]:
        text = path.read_text(encoding="utf-8")
        named = {f"{kind}/{name}" for kind, name in re.findall(r"@(string|layout)/(\w+)|", text) if kind}
        named |= {f"{kind}/{name}" for kind, name in re.findall(r"(?<!\w)R\.(\w+)\.(\w+)", text)}
        problems += [f"{path.relative_to(HERE)}: no resource {name}" for name in sorted(named - known)]
    return problems


def native_functions() -> List[str]:
    """Return which functions Kotlin declares as native and the native code does not have, and the other way round."""
    kotlin = "".join(path.read_text(encoding="utf-8") for path in MAIN.rglob("*.kt"))
    declared = set(re.findall(r"external fun (\w+)", kotlin))
    written = set(
        re.findall(r"^JAVA\(\w+, (\w+)\)", (MAIN / "cpp" / "jni.cpp").read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    return [f"native function {name} is on one side alone" for name in sorted(declared ^ written)]


def brackets() -> List[str]:
    """Return which Kotlin and Gradle files have brackets that do not match."""
    problems = []
    for path in [*HERE.glob("*.kts"), *HERE.glob("app/*.kts"), *MAIN.rglob("*.kt")]:
        text = re.sub(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        problems += [
            f"{path.relative_to(HERE)}: {a}{b} do not match" for a, b in ("()", "{}", "[]") if text.count(a) != text.count(b)
        ]
    return problems


def golden() -> int:
    """Compile the native code for this machine and put the golden raw inputs through it."""
    build = HERE / "host"
    if not (build / "app").is_file():
        print("failed: host/app is missing; say make setup")
        return 1
    bundle, table = MAIN / "assets" / "bundle", MAIN / "assets" / "unicode.txt"
    command = [
        str(build / "app"),
        "--library",
        str(HERE / "lib" / "libonnxruntime.so"),
        "--bundle",
        str(bundle),
        "--table",
        str(table),
    ]
    return subprocess.run([*command, "--golden"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
