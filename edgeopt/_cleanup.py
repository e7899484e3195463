"""A process that outlives edgeopt by a moment and clears up behind it, however edgeopt ended; started by `edgeopt.lifetime`.

It reads one JSON request per line from its standard input: ``{"add": KIND, "what": …}`` or ``{"drop": KIND, "what": …}``, where
KIND is "group" (the id of a process group) or "folder" (a path). At end of file, which comes when edgeopt is gone, it ends the
groups that are still registered and removes the folders. A control character is the number of a signal that edgeopt received
(see `signal.set_wakeup_fd`): if edgeopt is still there a while after an interrupt, a byte on standard output says so, and
edgeopt ends itself; where it cannot, it is ended by force a moment later. It says ``{"calm": true}`` if it goes on.

A script without imports from edgeopt, since it runs as ``python -I -S``, which starts in a few milliseconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time

_INTERRUPT_S = 5.0
_FORCE_S = 1.0
_TERMINATE_S = 2.0
_POLL_S = 0.05
_SIGNALS = bytes(number for number in range(32) if number != ord("\n"))


def main(parent: int) -> None:
    """Keep the register of the process `parent` until its end, then clear up."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    registered: dict[str, list[int | str]] = {"group": [], "folder": []}
    _listen(parent, registered)
    _end_groups([group for group in registered["group"] if isinstance(group, int)])
    for folder in registered["folder"]:
        shutil.rmtree(str(folder), ignore_errors=True)


def _listen(parent: int, registered: dict[str, list[int | str]]) -> None:
    pending, deadline, asked = b"", None, False
    while True:
        if os.name != "nt":
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([0], [], [], left)[0]:
                with contextlib.suppress(OSError):
                    if asked:
                        os.kill(parent, signal.SIGKILL)
                    else:
                        os.write(1, b"!")
                asked, deadline = not asked, None if asked else time.monotonic() + _FORCE_S
                continue
        data = os.read(0, 65536)
        if not data:
            return
        if signal.SIGINT in data:
            deadline = deadline or time.monotonic() + _INTERRUPT_S
        *lines, pending = (pending + data.translate(None, _SIGNALS)).split(b"\n")
        for request in map(json.loads, filter(None, lines)):
            if "calm" in request:
                asked, deadline = False, None
            else:
                _take(request, registered)


def _take(request: dict[str, int | str], registered: dict[str, list[int | str]]) -> None:
    what = request["what"]
    if "add" in request:
        registered[str(request["add"])].append(what)
    elif what in registered[str(request["drop"])]:
        registered[str(request["drop"])].remove(what)


def _end_groups(groups: list[int]) -> None:
    """Ask the groups to end, and after a moment do it by force."""
    if os.name == "nt":
        for group in groups:
            subprocess.run(["taskkill", "/T", "/F", "/PID", str(group)], capture_output=True, check=False)
        return
    left = [group for group in groups if _signal(group, signal.SIGTERM)]
    stop = time.monotonic() + _TERMINATE_S
    while left and time.monotonic() < stop:
        time.sleep(_POLL_S)
        left = [group for group in left if _signal(group, 0)]
    for group in groups:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """Send a signal to a group and return whether the group is there."""
    try:
        os.killpg(group, number)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main(int(sys.argv[1]))
