#!/usr/bin/env python3
"""Two slots and a link: install a bundle beside the one that runs, verify it there, switch, and go back if it is not healthy.

    slots.py install PROJECT      copy a project (server, inference, bundle) into the slot that is not in use, verify it, switch
    slots.py rollback             switch back to the other slot, if it verifies
    slots.py status               which slot runs, and what is in both

    ROOT/slots/a, ROOT/slots/b    whole projects; at most one of them is being written
    ROOT/current → slots/a        the only thing that decides; it is replaced by one rename

Whatever is interrupted when, `current` names a slot that was verified after it was written: files are flushed before the link
is renamed, and the slot in use is never written. Nothing but Python 3.9 is needed for that; verification runs with PYTHON, the
environment's interpreter. RESTART and HEALTH are commands (systemctl, a request to /readyz); without them nothing is restarted.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shlex
import shutil
import subprocess
import sys
from typing import Iterator, List, Optional

SLOTS = ("a", "b")
PARTS = ("server", "inference", "bundle", "requirements.txt")


class Failure(Exception):
    """The update was refused; what ran before still runs."""


def main(arguments: Optional[List[str]] = None) -> int:
    """Return 0 if done, 1 if refused."""
    parser = argparse.ArgumentParser(description="Install a bundle into the slot that is not in use, and switch to it.")
    parser.add_argument("--root", default=os.environ.get("ROOT", "/opt/@@SLUG@@"), help="default: %(default)s")
    parser.add_argument(
        "--python",
        default=os.environ.get("PYTHON"),
        help="interpreter that verifies; default: that of ROOT/venv, else this one",
    )
    parser.add_argument("--trusted", default=os.environ.get("TRUSTED"), help="public key that must have signed the bundle")
    parser.add_argument("--restart", default=os.environ.get("RESTART", ""), help="command that restarts the service")
    parser.add_argument(
        "--health", default=os.environ.get("HEALTH", ""), help="command that succeeds when the service is healthy"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("install").add_argument("project")
    commands.add_parser("rollback")
    commands.add_parser("status")
    options = parser.parse_args(arguments)
    installed = os.path.join(options.root, "venv", "bin", "python")
    options.python = options.python or (installed if os.path.isfile(installed) else sys.executable)
    if options.command == "status":
        return status(options.root)
    try:
        os.makedirs(os.path.join(options.root, "slots"), exist_ok=True)
        with locked(options.root):
            return install(options) if options.command == "install" else rollback(options)
    except (Failure, OSError) as error:
        print(f"slots: {error}", file=sys.stderr)
        return 1


@contextlib.contextmanager
def locked(root: str) -> Iterator[None]:
    """Let one update run at a time; the lock ends with the process."""
    with open(os.path.join(root, ".lock"), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Failure("another update is running") from error
        yield


def current(root: str) -> Optional[str]:
    """Return the slot in use, or None before the first installation."""
    try:
        name = os.path.basename(os.readlink(os.path.join(root, "current")))
    except FileNotFoundError:
        return None
    return name if name in SLOTS else None


def install(options: argparse.Namespace) -> int:
    """Write the other slot, verify it, switch; back again if the service is not healthy."""
    before = current(options.root)
    slot = SLOTS[1] if before == SLOTS[0] else SLOTS[0]
    place = os.path.join(options.root, "slots", slot)
    check_source(options.project)
    shutil.rmtree(place, ignore_errors=True)
    os.makedirs(place)
    for part in PARTS:
        source = os.path.join(options.project, part)
        if os.path.isdir(source):
            shutil.copytree(source, os.path.join(place, part), ignore=shutil.ignore_patterns("__pycache__"))
        elif os.path.isfile(source):
            shutil.copyfile(source, os.path.join(place, part))
    flush(place)
    verify(options, place)
    switch(options.root, slot)
    problem = started(options)
    if problem is None:
        print(f"slot {slot} runs")
        return 0
    if before is None:
        raise Failure(f"{problem}; there is no slot to go back to")
    switch(options.root, before)
    again = started(options)
    raise Failure(f"{problem}; back on slot {before}{'' if again is None else f', which is not healthy either: {again}'}")


def rollback(options: argparse.Namespace) -> int:
    """Switch to the other slot, if what is in it verifies."""
    before = current(options.root)
    if before is None:
        raise Failure("nothing is installed")
    slot = SLOTS[1] if before == SLOTS[0] else SLOTS[0]
    place = os.path.join(options.root, "slots", slot)
    if not os.path.isdir(os.path.join(place, "bundle")):
        raise Failure(f"slot {slot} is empty")
    verify(options, place)
    switch(options.root, slot)
    problem = started(options)
    if problem is not None:
        raise Failure(f"{problem}; slot {slot} is in use all the same")
    print(f"slot {slot} runs")
    return 0


def check_source(project: str) -> None:
    """Refuse what is no project, and links in it."""
    for part in PARTS[:3]:
        if not os.path.isdir(os.path.join(project, part)):
            raise Failure(f"{project}: has no folder '{part}'; give a project that edgeopt deploy --to linux wrote")
        for base, folders, files in os.walk(os.path.join(project, part)):
            for name in folders + files:
                if os.path.islink(os.path.join(base, name)):
                    raise Failure(f"{os.path.join(base, name)}: a link; a project holds plain files")


def flush(folder: str) -> None:
    """Wait until every file and folder below is on the disk, and the folder's own name, too."""
    for base, _, files in os.walk(folder):
        for name in [*files, "."]:
            flush_one(os.path.join(base, name))
    flush_one(os.path.dirname(folder))


def flush_one(path: str) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def verify(options: argparse.Namespace, place: str) -> None:
    """Run a verifier on the new bundle: its own, or where a key is trusted that of the bundle in use.

    Without a key the hashes tell damage alone, and a bundle knows its own version best. A signature is not checked by a program
    that it shall vouch for; the first installation has no other, so it trusts where it was got from.
    """
    bundle = os.path.join(place, "bundle")
    program, trusted = os.path.join(bundle, "verify.py"), []
    if options.trusted:
        trusted, installed = ["--trusted", options.trusted], os.path.join(options.root, "current", "bundle", "verify.py")
        program = installed if os.path.isfile(installed) else program
    done = subprocess.run([options.python, "-B", program, *trusted, bundle], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [
            line for line in done.stdout.splitlines() if line.startswith(("failed", "unchecked"))
        ] or done.stderr.strip().splitlines()
        raise Failure(f"the new bundle does not verify (status {done.returncode}): {(lines or ['it said nothing'])[0]}")


def switch(root: str, slot: str) -> None:
    """Point `current` to a slot by one rename, and wait until that is on the disk."""
    aside = os.path.join(root, f".current.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(aside)
    os.symlink(os.path.join("slots", slot), aside)
    os.replace(aside, os.path.join(root, "current"))
    flush_one(root)


def started(options: argparse.Namespace) -> Optional[str]:
    """Restart the service and return what is wrong with it; None if it is healthy."""
    for name, command in (("restart", options.restart), ("health check", options.health)):
        if not command:
            continue
        try:
            done = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False, timeout=120)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"the {name} failed: {error}"
        if done.returncode != 0:
            return f"the {name} failed with status {done.returncode}"
    return None


def status(root: str) -> int:
    """Print which slot is in use."""
    used = current(root)
    for slot in SLOTS:
        there = os.path.isfile(os.path.join(root, "slots", slot, "bundle", "bundle.json"))
        print(f"slot {slot}: {'in use' if slot == used else 'kept' if there else 'empty'}")
    return 0 if used else 1


if __name__ == "__main__":
    sys.exit(main())
