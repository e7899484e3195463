"""The command line: one file per command. stdout carries the result, stderr progress and errors.

Exit codes: 0 fine, 1 a budget or a check failed, 2 the input or the machine is wrong, 3 an internal error.
"""

from __future__ import annotations

import errno
import sys
import tempfile
import warnings
from typing import TextIO

from edgeopt.cli.app import StoppedError, app
from edgeopt.errors import DeprecatedKey, EdgeoptError, InternalError, MachineError
from edgeopt.escaping import one_line
from edgeopt.extras import missing_extra
from edgeopt.lifetime import stop_on_interrupt
from edgeopt.user_code import forget_current_folder

_STOPPED = "edgeopt: stopped; run the same command again to resume\n"
_OF_THE_PATH = {
    *(errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EROFS),
    *(errno.ETXTBSY, errno.ENXIO, errno.ENODEV, errno.EINVAL),
}
"""What the operating system says where a path, or who may use it, is the reason."""


def main() -> None:
    """Run the command line and exit with its code."""
    forget_current_folder()
    warnings.showwarning = _show_warning
    try:
        with stop_on_interrupt(_STOPPED):
            app(prog_name="edgeopt")
    except EdgeoptError as error:
        whose = "internal error: " if error.exit_code == InternalError.exit_code else ""
        sys.stderr.write(f"edgeopt: {whose}{one_line(str(error))}\n")
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, StoppedError):
        sys.stderr.write(_STOPPED)
        sys.exit(130)
    except OSError as error:
        sys.exit(_report_os_error(error))
    except MemoryError as error:
        sys.stderr.write(
            f"edgeopt: not enough memory: {one_line(str(error)) or 'the system gives no more'}; use fewer or smaller samples\n"
        )
        sys.exit(MachineError.exit_code)
    except Exception as error:  # noqa: BLE001  (the last resort: an internal error, with its traceback in a file)
        absent = missing_extra(error) if isinstance(error, ModuleNotFoundError) else None
        if absent:
            sys.stderr.write(f"edgeopt: {absent}\n")
            sys.exit(absent.exit_code)
        sys.exit(_report_last(error))


def _report_os_error(error: OSError) -> int:
    """Write what the operating system says of a path that it does not take, and return the exit code."""
    if error.errno not in _OF_THE_PATH or error.filename is None:
        return _report_last(error)
    sys.stderr.write(f"edgeopt: {one_line(str(error.filename)[:200])}: {error.strerror}; check the path and who may use it\n")
    return MachineError.exit_code


def _report_last(error: BaseException) -> int:
    """Write that the disk is full, where that is it, or else an internal error; return the exit code."""
    from edgeopt.cli.crash import report_crash
    from edgeopt.files import is_disk_full

    if is_disk_full(error):
        which = getattr(error, "filename", None) or f"the output's, or that of temporary files ({tempfile.gettempdir()})"
        sys.stderr.write(f"edgeopt: the disk is full: {one_line(str(which))}; free some space and run again\n")
        return MachineError.exit_code
    sys.stderr.write(report_crash(error))
    return InternalError.exit_code


_show_as_python_does = warnings.showwarning


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Write what to use in place of a deprecated key in one line; other warnings as Python does."""
    if issubclass(category, DeprecatedKey):
        sys.stderr.write(f"edgeopt: warning: {one_line(str(message))}\n")
    else:
        _show_as_python_does(message, category, filename, lineno, file, line)
