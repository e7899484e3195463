"""A target: a device (how it is reached) × an execution provider (with its options) × how models are quantized for it.

Targets are the files ``deploy/targets/*.toml``; the file's stem is the target's name.
"""

from __future__ import annotations

import platform
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from edgeopt._folders import shipped
from edgeopt.config import Options
from edgeopt.errors import MachineError, RecipeError, UserError, nearest
from edgeopt.machine import cpu_flags

HOST = "host"
"""The name that stands for whichever CPU target this machine is."""
_CPU_TARGETS = ("x86-vnni", "x86-avx2", "arm64")


_HOST = re.compile(r"(ssh://)?([A-Za-z0-9_][\w.+-]*@)?[A-Za-z0-9_\[:][\w.:%\[\]+=~-]*")


class Device(Options):
    """Where a model runs and what that machine must have."""

    transport: Literal["local", "ssh", "adb", "browser", "node"] = "local"
    """How the device is reached: an interpreter on this machine, OpenSSH's client, adb's, a headless browser or Node here."""
    python: str | None = None
    """The interpreter that measures; None: this one (local), `python3` (ssh, adb)."""
    launcher: list[str] = Field(default_factory=list)
    """The command before the interpreter, such as an emulator's; ``~`` stands for the home folder."""
    environment: list[str] = Field(default_factory=list)
    """Packages of an environment of its own, made by `edgeopt targets install`, for builds that exclude each other."""
    npm: list[str] = Field(default_factory=list)
    """Packages for a page or Node, fetched from npm by `edgeopt targets install`; their install scripts are not run."""
    host: str | None = None
    """Where OpenSSH connects to: a host name or an alias of ~/.ssh/config, with user, port, keys and jumps from there.

    For adb the device's serial, HOST:PORT over the network; None: the only one.
    """
    ssh_options: list[str] = Field(default_factory=list)
    """More arguments of `ssh`, such as ``["-p", "2222"]``."""
    folder: str | None = None
    """The folder over there that holds ours; None: the home (ssh), /data/local/tmp (adb)."""
    keep: bool = False
    """Leave runner and models on the device, so that they are copied once; else nothing is left behind."""
    emulated: bool = False
    """An emulator: its placement and numerics count, its latency and memory mean nothing and are not measured."""
    counting_launcher: list[str] = Field(default_factory=list)
    """A launcher that counts instructions and prints ``total insns: N``, as QEMU with its plug-in insn; empty: none."""
    counting_setup: str | None = None
    """The script, relative to the folder ``deploy``, that makes it."""
    machine: list[str] = Field(default_factory=list)
    """Accepted values of `platform.machine()`; empty: any."""
    cpu_flags: list[str] = Field(default_factory=list)
    """The CPU must have one of these features; empty: none is asked for."""

    @field_validator("host")
    @classmethod
    def _no_option(cls, host: str | None) -> str | None:
        """Refuse what ssh or adb would take for an option, or a shell for a command."""
        if host is not None and not _HOST.fullmatch(host):
            raise ValueError("give a host name, an alias, USER@HOST or a serial, which begins with a letter or a digit")
        return host

    @field_validator("folder")
    @classmethod
    def _no_option_either(cls, folder: str | None) -> str | None:
        if folder is not None and folder.startswith("-"):
            raise ValueError("a folder over there must not begin with '-'; write './-…'")
        return folder


class Plugin(Options):
    """A provider that comes as a library of its own, in a Python module."""

    module: str
    """The module to import; it has `get_library_path()`."""
    name: str
    """The name it is registered by; one that ends in ``.virtual`` makes a device where there is no hardware."""


class Provider(Options):
    """The onnxruntime execution provider that runs the model."""

    name: str = "CPUExecutionProvider"
    """onnxruntime's name of the provider."""
    options: dict[str, str] = Field(default_factory=dict)
    """Provider options, as onnxruntime takes them; ``"call:NAME"`` stands for what the plug-in's function NAME returns."""
    plugin: Plugin | None = None
    """The plug-in the provider comes in, if it is not built into onnxruntime."""
    threads: int = Field(default=1, ge=1)
    """Threads inside an operator (`intra_op_num_threads`)."""

    def session(self) -> dict[str, Any]:
        """Return what the runner's requests call `session`."""
        values: dict[str, Any] = {"provider": self.name, "options": self.options, "threads": self.threads}
        return {**values, "plugin": self.plugin.model_dump()} if self.plugin else values


_BETWEEN_KERNELS = [
    "Add",
    "AveragePool",
    "Clip",
    "Concat",
    "Flatten",
    "GlobalAveragePool",
    "LeakyRelu",
    "MaxPool",
    "Mul",
    "Pad",
    "Relu",
    "Reshape",
    "Resize",
    "Sigmoid",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
]


class Rules(Options):
    """Which nodes run on integers on a target, and where Q/DQ pairs stand; the planner knows no provider but by these."""

    placement: Literal["kernels", "inputs", "everywhere"] = "kernels"
    """kernels: around nodes whose integer kernels gain, floats between them; inputs: pairs before what multiplies and nowhere
    else, for compilers that fuse behind it; everywhere: on every tensor, for compilers that take no floats."""
    ops: list[str] = Field(default_factory=_BETWEEN_KERNELS.copy)
    """Operators beside those with constant weights: kernels: that may stay on integers between such; inputs: whose inputs are
    rounded too; everywhere: that the provider takes as integers."""
    products: bool = False
    """Products of two activations run on integers, too."""
    per_channel_ops: list[str] = Field(default_factory=lambda: ["Conv", "ConvTranspose", "Gemm", "MatMul"])
    """Operators whose weights may have a scale for each output channel."""
    shared: list[str] = Field(default_factory=list)
    """Operators all of whose inputs and outputs must (or should) have one range."""
    wide: list[str] = Field(default_factory=list)
    """Operators that take 16-bit activations beside 8-bit weights; empty: none do, so the exceptions are floats."""
    norm_weight: Literal["int8", "uint8"] = "int8"
    """Integer type of the scales of normalisations."""
    bias: Literal["int32", "float"] = "int32"
    """How biases are stored."""
    float_stem: bool = False
    """The first layers of networks on pictures stay in floating point: a convolution with depthwise ones behind it."""
    float_sums: bool = False
    """What linear bottlenecks add up stays in floating point."""
    pointwise_products: bool = False
    """1 × 1 convolutions whose results are wanted as floats are computed by onnxruntime's integer matrix product."""
    reason: str = "integer kernels gain where constant weights are multiplied; conversions elsewhere only cost"
    """Why, in one sentence; printed with every plan."""


class Quantization(Options):
    """What the target's int8 kernels want; the defaults of every quantization plan made for it."""

    activation: Literal["uint8", "int8", "uint16", "int16"]
    """Integer type of activations."""
    weight: Literal["int8", "uint8"]
    """Integer type of weights."""
    per_channel: bool
    """One weight scale per output channel instead of one per tensor."""
    symmetric_activation: bool
    """Activations have their zero point in the middle of the integer range."""
    symmetric_weight: bool = True
    """Weights have zero point 0."""
    reduce_range: Literal["never", "where-saturating", "always"]
    """Weights of 7 bits, where u8·s8 pair sums would saturate in 16 bits."""
    conv_input_channels: int = Field(default=1, ge=1)
    """Input channels of convolutions are padded with zeros to a multiple of this."""
    reason: str
    """Why, in one sentence; printed with every plan."""
    rules: Rules = Rules()
    """Which nodes run on integers and where values are rounded."""


class Export(Options):
    """What the target's provider can load and runs best."""

    opset: int = Field(default=24, ge=13, le=25)
    """Version of the default operator set."""
    attention: Literal["fused", "decomposed"] = "fused"
    """One standard `Attention` node a layer, or its parts."""
    projections: Literal["merged", "apart"] = "merged"
    """Query, key and value as one product and a Split, or as products of their own."""


class Target(Options):
    """A device × provider profile, as read from its file."""

    name: str
    """The file's stem, such as ``x86-vnni``."""
    description: str
    """One line for lists."""
    setup: str | None = None
    """The script, relative to the folder ``deploy``, that makes what it needs; run by `edgeopt targets install`."""
    untested: bool = False
    """Nobody has run it yet: its rules are from the provider's documentation."""
    device: Device
    provider: Provider
    quantization: Quantization
    export: Export = Export()


def target_names() -> list[str]:
    """Return the names of all known targets, sorted."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def load_target(name: str) -> Target:
    """Return the target called `name`, or read it from a path that ends in ``.toml``; "host" is this machine's own CPU.

    Raises:
        RecipeError: there is no such target, or its file has a wrong key.
    """
    if name == HOST:
        return _host()
    path = Path(name) if name.endswith(".toml") else _folder() / f"{name}.toml"
    if not path.is_file():
        names = target_names()
        raise RecipeError(f"target '{name}' does not exist{nearest(name, names)}; known: {HOST}, {', '.join(names)}")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid TOML: {error}") from error
    return Target.read({"name": path.stem, **values}, where=str(path))


def _host() -> Target:
    """Return the first CPU target that this machine is, the most particular first."""
    for target in map(load_target, _CPU_TARGETS):
        flags = target.device.cpu_flags
        if platform.machine() in target.device.machine and (not flags or cpu_flags().intersection(flags)):
            return target
    if platform.machine() in load_target("x86-avx2").device.machine:
        return load_target("x86-avx2")  # a system that hides its flags; these rules are right on every x86-64
    raise MachineError(f"no target is known for {platform.machine()}; name one: {', '.join(target_names())}")


def _folder() -> Path:
    return shipped("deploy") / "targets"
