"""Environments and emulators that targets need on this machine."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from edgeopt import lifetime, progress
from edgeopt._folders import shipped
from edgeopt.errors import MachineError, RecipeError
from edgeopt.files import disk_errors, exclusive
from edgeopt.targets.target import Target

_DONE = "edgeopt-installed"


def folder_of(target: Target) -> Path:
    """Return the folder of the environment of `target`, installed or not; its name depends on packages and this Python."""
    asked = "\n".join([*target.device.environment, *target.device.npm, f"python {sys.version_info[0]}.{sys.version_info[1]}"])
    digest = hashlib.sha256(asked.encode()).hexdigest()[:12]
    base = os.environ.get("XDG_CACHE_HOME")
    cache = Path(base) if base else Path.home() / ".cache"
    return cache / "edgeopt" / "environments" / f"{target.name}-{digest}"


def python_of(target: Target) -> Path:
    """Return the interpreter of `target`'s environment.

    Raises:
        MachineError: it has not been installed.
    """
    return _python(_made(target))


def modules_of(target: Target) -> Path:
    """Return the folder of `target`'s npm packages.

    Raises:
        MachineError: they have not been installed.
    """
    return _made(target) / "node_modules"


def _made(target: Target) -> Path:
    folder = folder_of(target)
    if not (folder / _DONE).is_file():
        raise MachineError(
            f"target '{target.name}' needs a separate environment; install it: edgeopt targets install {target.name}"
        )
    return folder


def install(target: Target) -> str:
    """Install what `target` needs on this machine (an environment, an emulated device) and return a line about it.

    Anything that is installed already is left unchanged.

    Raises:
        RecipeError: the target needs nothing.
        MachineError: it cannot be installed; nothing incomplete is left.
    """
    if not (target.setup or target.device.environment or target.device.npm):
        raise RecipeError(f"target '{target.name}' needs no installation; use it as it is")
    folder = folder_of(target)
    with exclusive(folder.with_name(f"{folder.name}.lock"), f"targets install {target.name}"):
        return _install(target, folder)


def _install(target: Target, folder: Path) -> str:
    if target.setup:
        return _run_setup(shipped("deploy") / target.setup)
    packages = [*target.device.environment, *target.device.npm]
    if not (folder / _DONE).is_file():
        shutil.rmtree(folder, ignore_errors=True)
        with progress.task(f"installing {', '.join(packages)}"):
            _fill(folder, target)
    return f"{folder} has {', '.join(packages)}"


def _run_setup(script: Path) -> str:
    with progress.task(f"running {script.name}"):
        done = lifetime.run(["sh", str(script)])
    said = [line for line in (done.stderr if done.returncode else done.stdout).strip().splitlines() if line]
    if done.returncode:
        raise MachineError(f"{script}: {said[-1][:300] if said else f'exit status {done.returncode}'}")
    return said[-1] if said else f"{script.name} is done"


def _fill(folder: Path, target: Target) -> None:
    """Install the packages completely or not at all; install scripts of npm packages are not run."""
    python, npm = target.device.environment, target.device.npm
    with disk_errors(folder):
        folder.mkdir(parents=True)
    if python:
        try:
            venv.create(folder, with_pip=True)
        except (subprocess.CalledProcessError, OSError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise MachineError(
                f"{folder}: no environment with pip can be made here ({error}); Debian: apt install python3-venv"
            ) from error
        _call([str(_python(folder)), "-P", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *python], folder)
    if npm:
        _call(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder), *npm], folder)
    (folder / _DONE).write_text("\n".join([*python, *npm]) + "\n", encoding="utf-8")


def _call(command: list[str], folder: Path) -> None:
    try:
        done = lifetime.run(command)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise MachineError(f"cannot start {command[0]}: {error.strerror}; install it") from error
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise MachineError(f"{Path(command[0]).name} cannot install into {folder}: {said[:300]}")


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
