"""Does the profiler keep its promises? Run on a quiet machine.

    python -m benchmarks.profile [--times 20] [--seconds 20] [PART…]

    aa      one file against itself: how often are the two called different?             (promise: at most 1 in 20)
    ab      20 equal layers against 21, a planted 5 % slowdown: how often is it found?   (goal: 18 of 20)
    loop    the median beside a plain timing loop's of the same length, one thread       (goal: within 3 %)
    cost    what timing adds to a run, in ns                                             (goal: at most 5,000)

Results go to results.json beside this file, with device and versions.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeopt.profile.config import ProfileConfig
from edgeopt.profile.result import ProfileResult
from edgeopt.profile.stage import profile
from edgeopt.targets.target import Target, load_target

_WIDTH = 512
_LOOP = """
import json, sys, time
import numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
feeds = {"x": np.ones((64, int(sys.argv[3])), np.float32)}
names = [value.name for value in session.get_outputs()]
samples, stop = [], time.perf_counter() + float(sys.argv[2])
while time.perf_counter() < stop:
    begin = time.perf_counter(); session.run(names, feeds); samples.append(time.perf_counter() - begin)
print(json.dumps(sorted(samples[len(samples) // 5:])[len(samples) * 2 // 5] * 1e3))
"""


def layers(count: int, path: Path) -> Path:
    """Write a model of `count` equal MatMul + Relu layers, [64, 512] each."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array((rng.normal(size=(_WIDTH, _WIDTH)) / 23).astype(np.float32), f"w{i}") for i in range(count)
    ]
    nodes, last = [], "x"
    for i in range(count):
        nodes += [helper.make_node("MatMul", [last, f"w{i}"], [f"m{i}"]), helper.make_node("Relu", [f"m{i}"], [f"r{i}"])]
        last = f"r{i}"
    shape = [64, _WIDTH]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", last)]
    graph = helper.make_graph(nodes, "layers", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def _profile(models: dict[str, Path], target: Target, seconds: float) -> ProfileResult:
    inputs = [{"x": np.ones((64, _WIDTH), np.float32)}]
    config = ProfileConfig(seconds=seconds, cold_starts=1, operator_runs=0)
    return profile(models, inputs, target=target, config=config)


def decisions(a: Path, b: Path, target: Target, *, times: int, seconds: float) -> list[dict[str, Any]]:
    """Compare two files `times` times."""
    found = []
    for turn in range(times):
        result = _profile({"a": a, "b": b}, target, seconds)
        [pair] = result.comparisons
        busy = result.conditions.others_cores
        found.append({"decision": pair.decision, "ratio": pair.ratio, "low": pair.low, "high": pair.high, "others_cores": busy})
        print(turn, found[-1], file=sys.stderr)
    return found


def loop(path: Path, target: Target, *, times: int, seconds: float) -> list[dict[str, float]]:
    """Put the profiler's median beside a plain loop's, in turns."""
    found = []
    for _ in range(times):
        command = [sys.executable, "-c", _LOOP, str(path), str(seconds), str(_WIDTH)]
        plain_ms = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        ours_ms = _profile({"a": path}, target, seconds).variants[0].latency[0].value_ms
        found.append({"plain_ms": plain_ms, "ours_ms": ours_ms, "ratio": ours_ms / plain_ms})
        print(found[-1], file=sys.stderr)
    return found


def main() -> None:
    """Run the parts asked for and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=[], metavar="PART", help="aa, ab, loop, cost (all)")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--target", default="x86-vnni")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results.json"))
    asked = parser.parse_args()
    parts = asked.parts or ["aa", "ab", "loop", "cost"]
    target = load_target(asked.target)
    with tempfile.TemporaryDirectory() as folder:
        twenty, more = layers(20, Path(folder) / "20.onnx"), layers(21, Path(folder) / "21.onnx")
        first = _profile({"a": twenty}, target, 1.0)
        found: dict[str, Any] = {"device": first.device, "versions": first.versions, "seconds": asked.seconds}
        found["device"].pop("cpu_flags", None)
        if "cost" in parts:
            found["cost_ns"] = first.overhead_ns
        if "aa" in parts:
            found["aa"] = decisions(twenty, twenty, target, times=asked.times, seconds=asked.seconds)
        if "ab" in parts:
            found["ab"] = decisions(twenty, more, target, times=asked.times, seconds=asked.seconds)
        if "loop" in parts:
            found["loop"] = loop(twenty, target, times=max(1, asked.times // 4), seconds=asked.seconds)
    for part in ("aa", "ab"):
        if part in found:
            counts = {
                name: sum(one["decision"] == name for one in found[part]) for name in ("slower", "faster", "same", "undecided")
            }
            found[f"{part}_counts"] = counts
            print(part, counts)
    asked.out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
