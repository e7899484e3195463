"""What kernels cost on this machine: the constants of `[quantization.costs]` in a target's file, fitted to profiles.

    python -m benchmarks.quantize.kernel_costs --data DATA --work FOLDER [--target x86-vnni]

Five networks run in floating point and with everything on integers under onnxruntime's profiler; of each node the fastest of a
few runs counts, less what the profiler itself takes (found from the time of runs without it). For every kind of kernel the time
is fitted as node + MACs · mac + output elements · element, none below zero, by least squares of the relative error. Kinds with
fewer than three nodes are left out. Convolutions of fewer than 16 channels (`Conv.narrow`) are those of small networks of their
own. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from scipy.optimize import nnls

import edgeopt
from benchmarks.quantize.behaviour import case
from edgeopt.quantize import QuantizeConfig
from edgeopt.quantize.search.kernel_times import NARROW

_MODELS = ("mobilenetv2", "sst2", "ultraface", "fastestdet", "yolox")
_RUNS = 40
_WEIGHTS = {"Conv": 1, "FusedConv": 1, "QLinearConv": 3}
_PRODUCTS = {"FusedGemm", "FusedMatMul", "Gemm", "MatMul", "MatMulIntegerToFloat", "QGemm", "QLinearMatMul"}
_NAMES = {"FusedConv": "Conv", "FusedGemm": "Gemm", "FusedMatMul": "MatMul", "NhwcMaxPool": "MaxPool", "QuickGelu": "SiLU"}


@dataclass(frozen=True)
class Kernel:
    """One node of a profile."""

    kind: str
    us: float
    macs: int
    elements: int


def _session(path: Path, folder: Path | None = None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    if folder is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / "profile")
        options.optimized_model_filepath = str(folder / "optimized.onnx")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _profiled(path: Path, batch: Mapping[str, Any], folder: Path) -> list[Kernel]:
    """Return the kernels of a model, without the time that profiling takes."""
    session = _session(path, folder)
    for _ in range(_RUNS):
        session.run(None, batch)
    best: dict[str, tuple[float, dict[str, Any]]] = {}
    for event in json.loads(Path(session.end_profiling()).read_text(encoding="utf-8")):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            before = best.get(event["name"], (float("inf"), {}))[0]
            best[event["name"]] = min(before, event["dur"]), event["args"]
    plain = _session(path)
    fastest = float("inf")
    for _ in range(_RUNS):
        began = time.perf_counter()
        plain.run(None, batch)
        fastest = min(fastest, (time.perf_counter() - began) * 1e6)
    overhead = max(sum(us for us, _ in best.values()) - fastest, 0.0) / max(len(best), 1)
    model = onnx.load(folder / "optimized.onnx")
    shapes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    nodes = {node.name: node for node in model.graph.node}
    found = []
    for name, (us, about) in best.items():
        node = nodes.get(name.removesuffix("_kernel_time"))
        if node is not None:
            found.append(_kernel(node, max(us - overhead, 0.1), about, shapes))
    return found


def _kernel(node: onnx.NodeProto, us: float, about: Mapping[str, Any], shapes: Mapping[str, list[int]]) -> Kernel:
    given, made = ([next(iter(item.values())) for item in about[f"{side}_type_shape"]] for side in ("input", "output"))
    elements = prod(made[0]) if made else 0
    kind, macs = _NAMES.get(node.op_type, node.op_type.removeprefix("QLinear")), 0
    if node.op_type in _WEIGHTS:
        weight = shapes.get(node.input[_WEIGHTS[node.op_type]], [])
        macs = elements * prod(weight[1:]) if weight else 0
        narrow = node.op_type == "QLinearConv" and weight[0] < NARROW
        dense = "Conv.narrow" if narrow else "Conv"
        kind = "Conv.depthwise" if weight[1:2] == [1] else "Conv.pointwise" if weight[2:] == [1, 1] else dense
    elif node.op_type in _PRODUCTS:
        macs = elements * given[0][-1]
        kind = kind.removeprefix("Q") if node.op_type == "QGemm" else kind
    return Kernel("Reorder" if kind.startswith("Reorder") else kind, us, macs, elements)


def _narrow(target: edgeopt.Target, folder: Path) -> Iterator[Kernel]:
    """Yield each integer convolution of networks of few channels."""
    generator = np.random.default_rng(0)
    config = QuantizeConfig(float_layers="none", collapse_db=None)
    for channels, edge in product((4, 8, 12), (20, 56)):
        path, output = folder / f"narrow-{channels}-{edge}.onnx", folder / f"costs-narrow-{channels}-{edge}.onnx"
        batch = {"x": generator.standard_normal((1, channels, edge, edge)).astype(np.float32)}
        onnx.save(_chain(channels, edge, generator), path)
        edgeopt.quantize(path, [batch] * 4, target=target, output=output, config=config)
        yield from (kernel for kernel in _profiled(output, batch, folder) if kernel.kind == "Conv.narrow")


def _chain(channels: int, edge: int, generator: np.random.Generator) -> onnx.ModelProto:
    """Return four convolutions of 3 x 3 windows with Relu between them."""
    graph = onnx.parser.parse_graph(
        f"chain (float[1, {channels}, {edge}, {edge}] x) => (float[1, {channels}, {edge}, {edge}] y) {{"
        "a = Conv <pads = [1, 1, 1, 1]> (x, w) b = Relu (a) c = Conv <pads = [1, 1, 1, 1]> (b, w) d = Relu (c)"
        "e = Conv <pads = [1, 1, 1, 1]> (d, w) f = Relu (e) g = Conv <pads = [1, 1, 1, 1]> (f, w) y = Relu (g) }"
    )
    weight = generator.standard_normal((channels, channels, 3, 3)).astype(np.float32) / np.sqrt(9 * channels)
    graph.initializer.append(onnx.numpy_helper.from_array(weight.astype(np.float32), "w"))
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)


def _fitted(kernels: list[Kernel]) -> tuple[np.ndarray, float]:
    """Return node (us), mac (ps), element (ps) and the median relative error."""
    work = np.array([[1.0, item.macs / 1e6, item.elements / 1e6] for item in kernels])
    times = np.array([item.us for item in kernels])
    weights = 1 / np.maximum(times, 1.0)
    constants, _ = nnls(work * weights[:, None], times * weights)
    return constants, float(np.median(np.abs(work @ constants - times) * weights))


def _lines(kernels: list[Kernel]) -> Iterator[str]:
    kinds: dict[str, list[Kernel]] = defaultdict(list)
    for item in kernels:
        kinds[item.kind].append(item)
    for kind, items in sorted(kinds.items()):
        if len(items) >= 3:
            (node, mac, element), error = _fitted(items)
            parts = [f"node_us = {node:.1f}", *([f"mac_ps = {mac:.1f}"] if mac else []), f"element_ps = {element:.0f}"]
            yield f'"{kind}" = {{ {", ".join(parts)} }}  # {len(items)} nodes, off by {error:.0%}'


def main() -> None:
    """Print both tables as TOML."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--target", default="x86-vnni")
    parser.add_argument("--models", nargs="*", choices=_MODELS, default=list(_MODELS))
    arguments = parser.parse_args()
    config = QuantizeConfig(float_layers="none", collapse_db=None)
    found: dict[str, list[Kernel]] = {"floating": [], "integer": []}
    found["integer"] += _narrow(edgeopt.load_target(arguments.target), arguments.work)
    for name in arguments.models:
        path, samples = case(name, arguments.data, arguments.work)
        target, output = edgeopt.load_target(arguments.target), arguments.work / f"costs-{name}.onnx"
        edgeopt.quantize(path, samples[:16], target=target, output=output, config=config)
        found["floating"] += _profiled(path, samples[0], arguments.work)
        found["integer"] += _profiled(output, samples[0], arguments.work)
    for form, kernels in found.items():
        print(f"[quantization.costs.{form}]", *_lines(kernels), "", sep="\n")


if __name__ == "__main__":
    main()
