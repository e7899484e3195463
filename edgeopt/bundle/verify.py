"""Verify a bundle with the same code as on the device: ``deploy/runner/verify.py``, loaded by its path."""

from __future__ import annotations

import functools
import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from edgeopt._folders import shipped
from edgeopt.device_code import inference
from edgeopt.errors import InternalError, ModelError

_MODULE = "edgeopt._device_verify"


@dataclass(frozen=True)
class CheckResult:
    """One check; `status` is "passed", "failed" or "unchecked"."""

    name: str
    status: str
    detail: str
    exit_status: int = 1
    """Exit code where this check failed; see ``verify.py``."""


@dataclass(frozen=True)
class VerifyReport:
    """Result of verifying a bundle."""

    path: str
    """Name of the bundle's folder."""
    verdict: str
    """ "passed", "failed", or "incomplete" when something could not be checked."""
    exit_code: int
    """Exit code of ``verify.py``: 0, 1, 2, or 4 to 14 by what is wrong."""
    checks: tuple[CheckResult, ...]
    not_covered: tuple[str, ...]
    """What a verification does not cover."""

    @property
    def passed(self) -> bool:
        """Whether everything was checked and is correct."""
        return self.verdict == "passed"


class BundleVersionError(ModelError):
    """The bundle is of a later version than this edgeopt."""

    exit_code = 5


def verify_bundle(
    path: Path,
    *,
    provider: str = "CPUExecutionProvider",
    trusted: Path | None = None,
    time_limit_s: float | None = None,
    budget: str | None = None,
) -> VerifyReport:
    """Check the files, the schema and the golden outputs of the bundle in the folder `path`.

    A bundle that fails gives a report, not an exception; nothing from it but its ONNX model is executed.

    Args:
        path: the bundle's folder.
        provider: runs the model.
        trusted: the file of a public key (PEM) that must have signed it.
        time_limit_s: with it the check runs in a process of its own, and a model that hangs or crashes counts as failed (0:
            without a limit); None: in this process.
        budget: p95 in ms that a run may take, or "recorded": what the bundle records, on a device of the same kind.

    Raises:
        ModelError: the folder is not a bundle, or has a schema version that this edgeopt does not read.
    """
    path = Path(path)
    if time_limit_s is not None:
        options = ["--provider", provider, "--time-limit", str(time_limit_s)]
        options += ["--budget", budget] if budget is not None else []
        return _verified_apart(path, options, trusted)
    code = device_verify()
    try:
        checks = code.verify(str(path), provider, None if trusted is None else str(trusted), budget)
    except code.FutureVersionError as error:
        raise BundleVersionError(f"{path}: {error}") from error
    except (code.NotABundleError, OSError) as error:
        raise ModelError(f"{path}: {error}") from error
    values = code.as_json(checks)
    return VerifyReport(
        path=path.resolve().name,
        verdict=values["verdict"],
        exit_code=code.exit_code(checks),
        checks=tuple(CheckResult(**check) for check in values["checks"]),
        not_covered=tuple(values["not_covered"]),
    )


def need_verified(bundle: Path) -> None:
    """Refuse a bundle that does not verify.

    Raises:
        ModelError: it does not, or is no bundle.
    """
    failed = next((check for check in verify_bundle(bundle).checks if check.status == "failed"), None)
    if failed is not None:
        raise ModelError(f"{bundle}: does not verify: {failed.name}: {failed.detail}")


def _verified_apart(path: Path, options: list[str], trusted: Path | None) -> VerifyReport:
    """Return the report of ``verify.py``, run as on the device."""
    command = [sys.executable, str(device_verify_path()), "--json", *options]
    command += [] if trusted is None else ["--trusted", str(trusted)]
    done = subprocess.run([*command, "--", str(path)], capture_output=True, check=False)
    try:
        values = json.loads(done.stdout)
        checks = tuple(CheckResult(**check) for check in values["checks"])
        return VerifyReport(path.resolve().name, values["verdict"], done.returncode, checks, tuple(values["not_covered"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        said = done.stderr.decode("utf-8", "replace").strip().removeprefix("verify: ")
        kind = BundleVersionError if done.returncode == BundleVersionError.exit_code else ModelError
        raise kind(f"{path}: {said or 'the check gave no answer'}") from error


def is_budget(text: str) -> bool:
    """Whether `text` is a budget that a verification can check: a number of ms above 0, or "recorded"."""
    try:
        device_verify().read_budget(text)
    except ValueError:
        return False
    return True


@functools.cache
def device_verify() -> ModuleType:
    """Return ``deploy/runner/verify.py`` as a module."""
    path = device_verify_path()
    spec = importlib.util.spec_from_file_location(_MODULE, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise InternalError(f"{path}: the bundle verifier is missing from this installation; install edgeopt again")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    module.__dict__["companion"] = inference  # the same files, without a change to sys.path
    return module


def device_verify_path() -> Path:
    """Return the path of ``verify.py``, which is copied into bundles."""
    return shipped("deploy") / "runner" / "verify.py"
