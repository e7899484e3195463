"""The command line: one file a command. stdout carries the result, stderr progress and what went wrong.

Exit codes: 0 fine, 1 a budget or a check failed, 2 the input or the machine is wrong, 3 a fault of ours.
"""

from __future__ import annotations

import sys
from pathlib import Path

from edgeopt.cli.app import app
from edgeopt.errors import EdgeoptError


def _look_here_too() -> None:
    """Let ``module:callable`` name a file of the folder we are in; it comes last, so that it shadows nothing."""
    try:
        here = str(Path.cwd())
    except OSError:  # the folder is gone
        return
    if not {"", here} & set(sys.path):
        sys.path.append(here)


def main() -> None:
    """Run the command line and exit with its code."""
    _look_here_too()
    try:
        app()
    except EdgeoptError as error:
        sys.stderr.write(f"edgeopt: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("edgeopt: stopped; the same command goes on where this one was\n")
        sys.exit(130)
    except Exception as error:  # noqa: BLE001  (the last resort: a fault of ours, with its traceback in a file)
        from edgeopt.cli.crash import report_crash

        sys.stderr.write(report_crash(error))
        sys.exit(3)
