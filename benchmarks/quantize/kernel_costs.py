"""What kernels cost on this machine: the constants of `[quantization.costs]` in a target's file, fitted to profiles.

    python -m benchmarks.quantize.kernel_costs --data DATA --work FOLDER [--target x86-vnni]

Five networks run in floating point and with everything on integers under onnxruntime's profiler; of each node the fastest of a
few runs counts, less what the profiler itself takes (found from the time of runs without it). For every kind of kernel the time
is fitted as node + MACs · mac + output elements · element, none below zero, by least squares of the relative error. Kinds with
fewer than three nodes are left out. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
        kind = "Conv.depthwise" if weight[1:2] == [1] else "Conv.pointwise" if weight[2:] == [1, 1] else "Conv"
    elif node.op_type in _PRODUCTS:
        macs = elements * given[0][-1]
        kind = kind.removeprefix("Q") if node.op_type == "QGemm" else kind
    return Kernel("Reorder" if kind.startswith("Reorder") else kind, us, macs, elements)


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
    arguments = parser.parse_args()
    config = QuantizeConfig(float_layers="none", collapse_db=None)
    found: dict[str, list[Kernel]] = {"floating": [], "integer": []}
    for name in _MODELS:
        path, samples = case(name, arguments.data, arguments.work)
        target, output = edgeopt.load_target(arguments.target), arguments.work / f"costs-{name}.onnx"
        edgeopt.quantize(path, samples[:16], target=target, output=output, config=config)
        found["floating"] += _profiled(path, samples[0], arguments.work)
        found["integer"] += _profiled(output, samples[0], arguments.work)
    for form, kernels in found.items():
        print(f"[quantization.costs.{form}]", *_lines(kernels), "", sep="\n")


if __name__ == "__main__":
    main()
