"""Fetch onnxruntime's shared library out of its wheel: python3 library.py [x86_64|aarch64]. It goes to lib/ (or lib-ARCH/)."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Download the wheel for the processor with pip and take the library out of it."""
    wanted = sys.argv[1] if sys.argv[1:] else platform.machine()
    folder = HERE / ("lib" if wanted == platform.machine() else f"lib-{wanted}")
    if (folder / "libonnxruntime.so").is_file():
        print(f"{folder.name}/libonnxruntime.so: is there already")
        return 0
    platforms = [part for version in ("2_28", "2_27", "2_17") for part in ("--platform", f"manylinux_{version}_{wanted}")]
    with tempfile.TemporaryDirectory() as place:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
        ]
        subprocess.run([*command, "--python-version", "3.12", *platforms, "--dest", place, "onnxruntime>=1.20"], check=True)
        wheel = next(Path(place).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            name = next((name for name in archive.namelist() if name.startswith("onnxruntime/capi/libonnxruntime.so")), None)
            if name is None:
                sys.exit(f"{wheel.name}: holds no libonnxruntime.so")
            folder.mkdir(exist_ok=True)
            with archive.open(name) as source, (folder / "libonnxruntime.so").open("wb") as target:
                shutil.copyfileobj(source, target)
    print(f"{folder.name}/libonnxruntime.so: from {wheel.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
