"""Check what can be checked without the Android SDK: resources, manifest, Gradle files, and the native code.

Resources and manifest are compiled where aapt2 is, by the SDK's android.jar or by Debian's package android-framework-res.
The native code is the whole way from raw data to the answer; it is compiled with the compiler of this machine and puts the
golden raw inputs of the bundle through itself. The Kotlin around it is only looked at: every resource and native function that
it names exists.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as Xml
from pathlib import Path
from typing import List, Optional

HERE = Path(__file__).resolve().parent
MAIN = HERE / "app" / "src" / "main"


def main() -> int:
    """Return 0 if nothing is wrong."""
    problems = [*resources(), *compiled(), *native_functions(), *brackets()]
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


def framework() -> Optional[Path]:
    """Return Android's own resources, which an app's refer to, where this machine has them."""
    platforms = sorted(Path(os.environ.get("ANDROID_HOME", "none")).glob("platforms/*/android.jar"))
    places = [*platforms[-1:], Path("/usr/share/android-framework-res/framework-res.apk")]
    return next((place for place in places if place.is_file()), None)


def compiled() -> List[str]:
    """Return what aapt2 has against resources and manifest; nothing where it is not installed."""
    aapt2, system = shutil.which("aapt2"), framework()
    if aapt2 is None or system is None:
        return []
    manifest = (MAIN / "AndroidManifest.xml").read_text(encoding="utf-8")
    package = re.search(r'namespace = "([\w.]+)"', (HERE / "app" / "build.gradle.kts").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "AndroidManifest.xml")  # (Gradle's plugin puts the package into it)
        place.write_text(manifest.replace("<manifest ", f'<manifest package="{package[1] if package else ""}" ', 1), "utf-8")
        sdk = ["--min-sdk-version", "26", "--target-sdk-version", "29"]
        link = ["link", "-I", str(system), "--manifest", str(place), *sdk, "-o", f"{folder}/app.apk", f"{folder}/resources.zip"]
        for words in (["compile", "--dir", str(MAIN / "res"), "-o", f"{folder}/resources.zip"], link):
            done = subprocess.run([aapt2, *words], capture_output=True, text=True, check=False)
            if done.returncode:
                lines = done.stderr.splitlines()
                return [line for line in lines if "error" in line] or [f"aapt2 {words[0]}: status {done.returncode}"]
    print("resources and manifest: compiled by aapt2")
    return []


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
