"""The Kotlin of a generated Android project, compiled and run on this machine, without the Android SDK.

    python -m benchmarks.deploy.kotlin PROJECT --kotlinc node_modules/kotlin-compiler/bin/kotlinc      (after its `make setup`)

The sources are compiled together with the declarations in `android/`, as much of Android as they name, and a class R made of
the project's resources. Then the template's Model puts the golden raw inputs through Kotlin, JNI and the native code, on a JVM.
Needs a JDK (jni.h) and a Kotlin compiler: npm's package kotlin-compiler is one.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_STUBS = Path(__file__).with_name("android")


def main() -> int:
    """Return 0 if everything compiles and every answer is the recorded one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("project", type=Path)
    parser.add_argument("--kotlinc", default="kotlinc")
    options = parser.parse_args()
    project = options.project.resolve()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        program, package = compiled(project, work, options.kotlinc)
        native(project, work)
        (work / "files").mkdir()
        path = f"-Djava.library.path={work}:{project / 'lib'}"
        assets = project / "app" / "src" / "main" / "assets"
        command = ["java", path, "-cp", str(program), f"{package}.GoldenKt", str(assets), str(work / "files")]
        environment = {**os.environ, "LD_LIBRARY_PATH": str(project / "lib")}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    print(done.stdout + done.stderr, end="")
    lines = done.stdout.splitlines()
    whole = re.fullmatch(r"(\d+) of \1 golden raw inputs give the recorded answer", lines[-1] if lines else "")
    return int(done.returncode != 0 or whole is None)


def compiled(project: Path, work: Path, kotlinc: str) -> tuple[Path, str]:
    """Return the project's Kotlin as a .jar, and its package."""
    sources = sorted(project.rglob("*.kt"))
    package = re.search(r"^package (\S+)", sources[0].read_text(encoding="utf-8"), re.MULTILINE)
    if package is None:
        sys.exit(f"{sources[0]}: names no package")
    (work / "R.kt").write_text(resources(project, package[1]), encoding="utf-8")
    golden = (_STUBS / "golden.kt").read_text(encoding="utf-8").replace("app.edgeopt.MODEL", package[1])
    (work / "golden.kt").write_text(golden, encoding="utf-8")
    stubs = [path for path in sorted(_STUBS.glob("*.kt")) if path.name != "golden.kt"]
    files = [*sources, *stubs, work / "R.kt", work / "golden.kt"]
    made = work / "app.jar"
    command = [kotlinc, "-nowarn", "-include-runtime", "-d", str(made), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    print(f"{len(sources)} Kotlin files compiled")
    return made, package[1]


def resources(project: Path, package: str) -> str:
    """Return the class R of the project's layouts, ids and strings."""
    folder = project / "app" / "src" / "main" / "res"
    texts = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.xml")))
    groups = {
        "layout": [path.stem for path in folder.glob("layout/*.xml")],
        "id": sorted(set(re.findall(r"@\+id/(\w+)", texts))),
        "string": re.findall(r'<string name="(\w+)"', texts),
    }
    lines = [f"package {package}", "object R {"]
    for group, names in groups.items():
        lines.append(f"    object {group} {{ {'; '.join(f'const val {name} = {k}' for k, name in enumerate(names))} }}")
    return "\n".join([*lines, "}", ""])


def native(project: Path, work: Path) -> None:
    """Compile the native half for this machine's JVM."""
    java = Path(os.path.realpath(shutil.which("javac") or sys.exit("a JDK is needed"))).parents[1]
    flags = [f"-I{java}/include", f"-I{java}/include/linux"]
    for header, more in (("jpeglib.h", ["-DHAVE_JPEG", "-ljpeg"]), ("png.h", ["-DHAVE_PNG", "-lpng"])):
        flags += more if Path("/usr/include", header).is_file() else []
    source = project / "app" / "src" / "main" / "cpp" / "jni.cpp"
    command = ["g++", "-std=c++17", "-O1", "-shared", "-fPIC", "-D_GNU_SOURCE", "-ffp-contract=off", str(source)]
    subprocess.run([*command, "-o", str(work / "libmodel.so"), *flags, "-ldl"], check=True)


if __name__ == "__main__":
    sys.exit(main())
