"""A model beyond protobuf's 2 GiB, end to end: static int8 and 4-bit weights of a random one, with external data; peak memory.

    python -m benchmarks.quantize.large --work FOLDER [--gigabytes 2.2] [--schemes static weights-int4]

Not part of any test run: it takes a few minutes, 3 × the model's size on disk and several times its size in memory. Each scheme
runs in a process of its own, whose peak memory is read from the kernel; the result is checked, loaded in onnxruntime and run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeopt.graph import files
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.targets.target import load_target

_WIDTH = 4096


def main() -> None:
    """Make the model once, quantize it by each scheme in a process of its own, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, required=True, help="folder for the models")
    parser.add_argument("--gigabytes", type=float, default=2.2)
    parser.add_argument("--schemes", nargs="+", default=["static", "weights-int4"])
    parser.add_argument("--only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    model = arguments.work / "large.onnx"
    if arguments.only:
        print(_run(model, arguments.only))
        return
    _make(model, arguments.gigabytes)
    print("| scheme | GB before | GB after | seconds | peak GB | SQNR of the output |\n|---|---|---|---|---|---|")
    for scheme in arguments.schemes:
        command = [sys.executable, "-m", "benchmarks.quantize.large", "--work", str(arguments.work), "--only", scheme]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().splitlines()[-1], flush=True)


def _make(path: Path, gigabytes: float) -> None:
    """Write a stack of random layers x + Relu (MatMul (LayerNormalization (x))) of about this many 10⁹ bytes.

    (Without the additions it would be chaotic: each layer adds 2.6 dB to the noise of the one before, and 33 of them collapse.)
    """
    generator = np.random.default_rng(0)
    nodes, constants = [], [numpy_helper.from_array(np.ones(_WIDTH, dtype=np.float32), "ones")]
    name = "x"
    for layer in range(round(gigabytes * 1e9 / (4 * _WIDTH**2))):
        weight = generator.standard_normal((_WIDTH, _WIDTH), dtype=np.float32) / np.float32(np.sqrt(_WIDTH))
        constants.append(numpy_helper.from_array(weight, f"w{layer}"))
        nodes += [
            helper.make_node("LayerNormalization", [name, "ones"], [f"n{layer}"], f"norm{layer}"),
            helper.make_node("MatMul", [f"n{layer}", f"w{layer}"], [f"m{layer}"], f"product{layer}"),
            helper.make_node("Relu", [f"m{layer}"], [f"r{layer}"], f"relu{layer}"),
            helper.make_node("Add", [name, f"r{layer}"], [f"x{layer}"], f"add{layer}"),
        ]
        name = f"x{layer}"
    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, ["rows", _WIDTH]) for end in ("x", name)]
    graph = helper.make_graph(nodes, "large", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    files.save(files.as_ir(model), path, external=True)


def _run(model: Path, scheme: str) -> str:
    """Quantize by one scheme and return its row."""
    generator = np.random.default_rng(1)
    rows = [{"x": generator.standard_normal((8, _WIDTH), dtype=np.float32)} for _ in range(4)]
    output = model.with_name(f"large.{scheme}.onnx")
    start = time.perf_counter()
    config = QuantizeConfig.read({"scheme": scheme}, where="benchmark")
    facts = quantize(model, rows, target=load_target("x86-vnni"), output=output, config=config).facts
    seconds = time.perf_counter() - start
    peak = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    onnx.checker.check_model(str(output))
    sizes = f"{facts.size_bytes_before / 1e9:.2f} | {facts.size_bytes_after / 1e9:.2f}"
    return f"| {scheme} | {sizes} | {seconds:.0f} | {peak * 1024 / 1e9:.1f} | {facts.layers[-1].sqnr_db:.1f} dB |"


if __name__ == "__main__":
    main()
