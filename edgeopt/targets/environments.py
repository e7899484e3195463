"""What targets need on this machine, made once: environments for builds that exclude each other, emulated devices."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from edgeopt import progress
from edgeopt._folders import shipped
from edgeopt.errors import MachineError, RecipeError
from edgeopt.targets.target import Target

_DONE = "edgeopt-installed"


def folder_of(target: Target) -> Path:
    """Return where the environment of `target` is or would be; its name changes with its packages and this Python."""
    asked = "\n".join([*target.device.environment, f"python {sys.version_info[0]}.{sys.version_info[1]}"])
    digest = hashlib.sha256(asked.encode()).hexdigest()[:12]
    base = os.environ.get("XDG_CACHE_HOME")
    cache = Path(base) if base else Path.home() / ".cache"
    return cache / "edgeopt" / "environments" / f"{target.name}-{digest}"


def python_of(target: Target) -> Path:
    """Return the interpreter of `target`'s environment.

    Raises:
        MachineError: it has not been installed.
    """
    folder = folder_of(target)
    if not (folder / _DONE).is_file():
        raise MachineError(
            f"target '{target.name}' has an environment of its own; make it: edgeopt targets install {target.name}"
        )
    return _python(folder)


def install(target: Target) -> str:
    """Make what `target` needs on this machine (an environment, an emulated device) and say what is there now.

    What is there already is left as it is.

    Raises:
        RecipeError: the target needs nothing.
        MachineError: it cannot be made; nothing half-made stays.
    """
    if target.setup:
        return _run_setup(shipped("deploy") / target.setup)
    packages = target.device.environment
    if not packages:
        raise RecipeError(f"target '{target.name}' needs nothing of its own; use it as it is")
    folder = folder_of(target)
    if not (folder / _DONE).is_file():
        shutil.rmtree(folder, ignore_errors=True)
        with progress.task(f"installing {', '.join(packages)}"):
            _fill(folder, packages)
    return f"{_python(folder)} has {', '.join(packages)}"


def _run_setup(script: Path) -> str:
    with progress.task(f"running {script.name}"):
        done = subprocess.run(["sh", str(script)], capture_output=True, text=True, check=False)
    said = [line for line in (done.stderr if done.returncode else done.stdout).strip().splitlines() if line]
    if done.returncode:
        raise MachineError(f"{script}: {said[-1][:300] if said else f'exit status {done.returncode}'}")
    return said[-1] if said else f"{script.name} is done"


def _fill(folder: Path, packages: list[str]) -> None:
    venv.create(folder, with_pip=True)
    command = [str(_python(folder)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        said = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise MachineError(f"cannot install {', '.join(packages)}: {said[:300]}")
    (folder / _DONE).write_text("\n".join(packages) + "\n", encoding="utf-8")


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
