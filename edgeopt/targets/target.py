"""A target: a device (how it is reached), an execution provider (with its options), and how models are quantized for it.

Targets are the files ``deploy/targets/*.toml``; the name of a target is the file's stem.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from edgeopt._folders import shipped
from edgeopt.config import Options
from edgeopt.documents import read_toml
from edgeopt.errors import MachineError, RecipeError, UserError, nearest
from edgeopt.graph.provider import Provider
from edgeopt.machine import cpu_flags

HOST = "host"
"""Name that stands for the CPU target of this machine."""
_CPU_TARGETS = ("x86-vnni", "x86-avx2", "arm64")


_HOST = re.compile(r"(ssh://)?([A-Za-z0-9_][\w.+-]*@)?[A-Za-z0-9_\[:][\w.:%\[\]+=~-]*")


class Device(Options):
    """The machine a model runs on, how it is reached, and what it must have."""

    transport: Literal["local", "ssh", "adb", "browser", "node"] = "local"
    """How the device is reached: local (an interpreter on this machine), ssh, adb, browser (headless) or node."""
    python: str | None = None
    """Python interpreter that runs the measurements; none: this one (local), `python3` (ssh, adb)."""
    launcher: list[str] = Field(default_factory=list)
    """Command that starts the interpreter, such as an emulator; ``~`` stands for the home folder."""
    environment: list[str] = Field(default_factory=list)
    """Packages of a separate Python environment, created by `edgeopt targets install`, for onnxruntime builds that exclude
    each other."""
    npm: list[str] = Field(default_factory=list)
    """npm packages for the browser or Node, installed by `edgeopt targets install`; their install scripts are not run."""
    host: str | None = None
    """ssh: host name or alias of ~/.ssh/config. adb: serial of the device, or HOST:PORT; none: the only device."""
    ssh_options: list[str] = Field(default_factory=list)
    """Further arguments of `ssh`, such as ``["-p", "2222"]``."""
    folder: str | None = None
    """Folder on the device for temporary files; none: the home folder (ssh), /data/local/tmp (adb)."""
    keep: bool = False
    """Keep runner and models on the device between runs; otherwise everything is removed."""
    emulated: bool = False
    """The device is an emulator: placement and numerics are measured, latency and memory are not."""
    counting_launcher: list[str] = Field(default_factory=list)
    """Launcher that counts instructions and prints ``total insns: N``, such as QEMU with its plug-in insn; empty: none."""
    counting_setup: str | None = None
    """Script that builds the counting launcher, relative to the folder ``deploy``."""
    machine: list[str] = Field(default_factory=list)
    """Accepted values of `platform.machine()`; empty: any."""
    cpu_flags: list[str] = Field(default_factory=list)
    """CPU features of which one is required; empty: no requirement."""

    @field_validator("*")
    @classmethod
    def _no_nul(cls, value: object) -> object:
        """Refuse what no command line can hold."""
        if any("\0" in item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)):
            raise ValueError("holds a NUL character")
        return value

    @field_validator("host")
    @classmethod
    def _no_option(cls, host: str | None) -> str | None:
        """Refuse text that ssh or adb would read as an option, or a shell as a command."""
        if host is not None and not _HOST.fullmatch(host):
            raise ValueError("give a host name, an alias, USER@HOST or a serial, which begins with a letter or a digit")
        return host

    @field_validator("folder")
    @classmethod
    def _no_option_either(cls, folder: str | None) -> str | None:
        if folder is not None and folder.startswith("-"):
            raise ValueError("a folder on the device must not begin with '-'; write './-…'")
        return folder


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
    """Which nodes run on integers on a target, and where Q/DQ pairs are inserted; the planner knows providers only by these."""

    deprecated_keys: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("float_stem", "float_sums"), "[quantization.costs] and the recipe's float_layers"
    )

    placement: Literal["kernels", "inputs", "everywhere"] = "kernels"
    """Where Q/DQ pairs go. kernels: around nodes whose integer kernels gain, with floats between them; inputs: before
    products and nowhere else, for compilers that fuse what follows; everywhere: on every tensor, for integer-only devices."""
    ops: list[str] = Field(default_factory=_BETWEEN_KERNELS.copy)
    """Operators without constant weights that are quantized. kernels: may stay on integers between integer nodes; inputs:
    their inputs are quantized too; everywhere: the provider runs them on integers."""
    products: bool = False
    """Quantize products of two activations, too."""
    per_channel_ops: list[str] = Field(default_factory=lambda: ["Conv", "ConvTranspose", "Gemm", "MatMul"])
    """Operators whose weights may have one scale per output channel."""
    shared: list[str] = Field(default_factory=list)
    """Operators whose inputs and outputs share one range."""
    wide: list[str] = Field(default_factory=list)
    """Operators that take 16-bit activations with 8-bit weights; empty: none, so exceptions are made in floating point."""
    norm_weight: Literal["int8", "uint8"] = "int8"
    """Integer type of the scale inputs of normalisations."""
    bias: Literal["int32", "float"] = "int32"
    """Type of stored biases."""
    pointwise_products: bool = False
    """Compute 1 × 1 convolutions whose results are needed as floats by onnxruntime's integer matrix product."""
    reason: str = "integer kernels gain where constant weights are multiplied; conversions elsewhere only cost"
    """The reason, in one sentence; printed with every plan."""


class KernelCost(Options):
    """The time of one kernel: node + MACs · mac + output elements · element."""

    node_us: float = Field(default=0.0, ge=0)
    """Microseconds for every run of the kernel."""
    mac_ps: float = Field(default=0.0, ge=0)
    """Picoseconds per multiply-accumulate."""
    element_ps: float = Field(default=0.0, ge=0)
    """Picoseconds per element of the output."""


class Costs(Options):
    """What kernels cost on the target, by operator.

    "Conv.depthwise" and "Conv.pointwise" are convolutions of that kind, "Conv.narrow" those of windows with fewer than 16
    channels at the output. Read by the search for exceptions: only ratios matter. Without them, no layer is left in floating
    point for its time.
    """

    floating: dict[str, KernelCost] = Field(default_factory=dict)
    """Floating-point kernels; "SiLU" is x · sigmoid(x) as one kernel, "Reorder" the change of layout around convolutions, "*"
    any other operator."""
    integer: dict[str, KernelCost] = Field(default_factory=dict)
    """Integer kernels, and the conversions QuantizeLinear and DequantizeLinear."""
    measured: str = ""
    """On what machine, with which onnxruntime, and when."""


class Quantization(Options):
    """The integer types that the target's kernels are fastest with; the defaults of every plan for the target."""

    activation: Literal["uint8", "int8", "uint16", "int16"]
    """Integer type of activations."""
    weight: Literal["int8", "uint8"]
    """Integer type of weights."""
    per_channel: bool
    """Use one weight scale per output channel; false: one per tensor."""
    symmetric_activation: bool
    """Put the zero point of activations in the middle of the integer range."""
    symmetric_weight: bool = True
    """Use zero point 0 for weights."""
    reduce_range: Literal["never", "where-saturating", "always"]
    """When to use 7-bit weights: where-saturating means where sums of u8·s8 pairs could saturate in 16 bits."""
    conv_input_channels: int = Field(default=1, ge=1)
    """Pad the input channels of convolutions with zeros to a multiple of this."""
    reason: str
    """The reason, in one sentence; printed with every plan."""
    rules: Rules = Rules()
    """Which nodes run on integers and where Q/DQ pairs are inserted."""
    costs: Costs = Costs()
    """What kernels cost, in floating point and on integers."""


class Export(Options):
    """The form of ONNX that the target's provider loads and runs best."""

    opset: int = Field(default=24, ge=13, le=25)
    """Version of the default operator set."""
    attention: Literal["fused", "decomposed"] = "fused"
    """fused: one standard `Attention` node per layer; decomposed: MatMul, Softmax, MatMul."""
    projections: Literal["merged", "apart"] = "merged"
    """merged: query, key and value as one product and a Split; apart: as three products."""
    decoder: Literal["portable", "decoder-cpu"] = "portable"
    """Form of decoders. portable: standard operators, a cache that grows; decoder-cpu: onnxruntime's GroupQueryAttention over a
    cache of fixed length, logits where they are asked for."""


class Pruning(Options):
    """What pruning has to know of the target's kernels."""

    step: int = Field(default=8, ge=1)
    """Counts of channels and neurons that are multiples of this lose no time to padding: the width of the kernels' blocks."""


class Target(Options):
    """A device, a provider and their rules, as read from a target's file."""

    name: str
    """Name of the target; default: the file's stem, such as ``x86-vnni``."""
    description: str
    """One line, shown by `edgeopt targets`."""
    setup: str | None = None
    """Script that `edgeopt targets install` runs, relative to the folder ``deploy``."""
    untested: bool = False
    """The target has not been run yet: its rules come from the provider's documentation."""
    device: Device
    provider: Provider
    quantization: Quantization
    export: Export = Export()
    pruning: Pruning = Pruning()


def target_names() -> list[str]:
    """Return the names of all known targets, sorted."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def load_target(name: str) -> Target:
    """Return the target called `name`, or read it from a path that ends in ``.toml``; "host" is this machine's CPU.

    Raises:
        RecipeError: there is no such target, or its file has a wrong key.
    """
    if name == HOST:
        return _host()
    path = Path(name) if name.endswith(".toml") else _folder() / f"{name}.toml"
    if not path.is_file():
        names = target_names()
        raise RecipeError(f"target '{name}' does not exist{nearest(name, names)}; known: {HOST}, {', '.join(names)}")
    values = read_toml(path, error=UserError, what="a target")
    return Target.read({"name": path.stem, **values}, where=str(path))


def _host() -> Target:
    """Return the first CPU target that matches this machine, the most specific first."""
    for target in map(load_target, _CPU_TARGETS):
        flags = target.device.cpu_flags
        if platform.machine() in target.device.machine and (not flags or cpu_flags().intersection(flags)):
            return target
    if platform.machine() in load_target("x86-avx2").device.machine:
        return load_target("x86-avx2")  # a system that hides its flags; these rules are right on every x86-64
    raise MachineError(f"no target is known for {platform.machine()}; name one: {', '.join(target_names())}")


def _folder() -> Path:
    return shipped("deploy") / "targets"
