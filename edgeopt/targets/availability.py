"""Availability of targets on this machine."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from edgeopt.errors import MachineError
from edgeopt.machine import cpu_flags
from edgeopt.targets.environments import modules_of
from edgeopt.targets.target import Device, Target
from edgeopt.targets.transports.adb import find_adb
from edgeopt.targets.transports.browser import find_browser
from edgeopt.targets.transports.node import find_node


@dataclass(frozen=True)
class Availability:
    """Whether a target can be measured from this machine; if not, every reason with advice; `notes` do not prevent it."""

    ok: bool
    reasons: list[str]
    notes: list[str] = field(default_factory=list)


def available(target: Target) -> Availability:
    """Return whether `target` can be measured from this machine."""
    if target.device.transport == "browser":
        reasons = [*([] if find_browser() else ["no Chromium is installed here"]), *_made_reasons(target)]
    elif target.device.transport == "node":
        reasons = [*([] if find_node() else ["Node is not installed here"]), *_made_reasons(target)]
    elif target.device.transport == "adb":
        reasons = [] if find_adb() else ["adb is not installed here (Debian: apt install adb)"]
    elif target.device.transport == "ssh":
        reasons = [] if target.device.host else ["the key 'device.host' is empty; name the host to connect to"]
    else:
        reasons = _machine_reasons(target.device) or _environment_reasons(target) or _provider_reasons(target)
    return Availability(ok=not reasons, reasons=reasons, notes=_notes(target))


def require(target: Target) -> None:
    """Raise an error if `target` cannot be measured from this machine.

    Raises:
        MachineError: with every reason and advice.
    """
    here = available(target)
    if not here.ok:
        raise MachineError(f"target '{target.name}' cannot be measured from here: {'; '.join(here.reasons)}")


def _notes(target: Target) -> list[str]:
    notes = []
    if target.untested:
        notes.append("untested: its rules are from the provider's documentation")
    if target.device.emulated:
        notes.append("an emulator: placement and numerics, no latency")
    if target.device.transport in ("ssh", "adb"):
        far = "host" if target.device.transport == "ssh" else "device"
        notes.append(f"the {far} is contacted when it is used")
    return notes


def _how(target: Target) -> str:
    return f"make it: edgeopt targets install {target.name}" if target.setup else "install it, or change the target's file"


def _environment_reasons(target: Target) -> list[str]:
    device = target.device
    if device.launcher and shutil.which(Path(device.launcher[0]).expanduser()) is None:
        return [f"{device.launcher[0]} is not installed; {_how(target)}"]
    if device.python and shutil.which(Path(device.python).expanduser()) is None:
        return [f"there is no interpreter {device.python}; {_how(target)}"]
    return [] if device.python or not device.environment else _made_reasons(target)


def _made_reasons(target: Target) -> list[str]:
    try:
        modules_of(target)
    except MachineError as error:
        return [str(error)]
    return []


def _machine_reasons(device: Device) -> list[str]:
    machine = platform.machine()
    if device.machine and machine not in device.machine:
        kinds = " or ".join(device.machine)
        return [
            f"runs on {kinds}, this machine is {machine}; reach a device over ssh (device.transport) or use an emulated target"
        ]
    flags = cpu_flags()
    if device.cpu_flags and not flags.intersection(device.cpu_flags):
        return [f"needs a processor with {' or '.join(device.cpu_flags)}, which this one does not have"]
    return []


def _provider_reasons(target: Target) -> list[str]:
    if target.device.python or target.device.environment or target.provider.plugin:
        return []  # another interpreter reports it when it is used

    import onnxruntime

    here = onnxruntime.get_available_providers()
    if target.provider.name in here:
        return []
    return [f"{target.provider.name} is not in onnxruntime {onnxruntime.__version__}, which has {', '.join(here)}"]
