"""Does the profiler keep its promises? Run on a quiet machine; at most 16 minutes, less where decisions come early.

    python -m benchmarks.profile [--times 20] [--seconds 20] [--fresh] [PART…]

    cost    what timing adds to a run, in ns                                             (promise: at most 5,000)
    loop    the median beside a plain timing loop's of the same length, one thread       (goal: within 3 %)
    ab      20 equal layers against 21, a planted 5 % slowdown: how often is it found?   (goal: 18 of 20)
    aa      one file against itself: how often are the two called different?             (promise: at most 1 in 20)

A comparison ends when it is decided, after `--seconds` at the latest. Every case is kept in results.json beside this file as
soon as it is there; a run that was stopped goes on with what is missing, unless device, versions, seconds or `--fresh` say
otherwise.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
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


def _profile(models: dict[str, Path], target: Target, seconds: float, *, compare: bool) -> ProfileResult:
    inputs = [{"x": np.ones((64, _WIDTH), np.float32)}]
    config = ProfileConfig(seconds=seconds, cold_starts=1, operator_runs=0, roofline=False, stop_when_compared=compare)
    return profile(models, inputs, target=target, config=config)


def comparison(a: Path, b: Path, target: Target, seconds: float) -> dict[str, Any]:
    """Compare two files until it is decided."""
    result = _profile({"a": a, "b": b}, target, seconds, compare=True)
    [pair] = result.comparisons
    others = result.conditions.others_cores if result.conditions else None
    found = {"decision": pair.decision, "ratio": pair.ratio, "low": pair.low, "high": pair.high, "basis": pair.basis}
    return {**found, "rounds": pair.rounds, "elapsed_s": round(result.elapsed_s, 1), "others_cores": others}


def loop(path: Path, target: Target, seconds: float) -> dict[str, Any]:
    """Put the profiler's median beside a plain loop's: one before it and one after it, so that a drift falls on both sides."""
    command = [sys.executable, "-c", _LOOP, str(path), str(seconds / 2), str(_WIDTH)]

    def plain() -> float:
        return float(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))

    before = plain()
    result = _profile({"a": path}, target, seconds, compare=False)
    after = plain()
    ours_ms, plain_ms = result.variants[0].latency[0].value_ms, (before + after) / 2
    others = result.conditions.others_cores if result.conditions else None
    return {"plain_ms": plain_ms, "ours_ms": ours_ms, "ratio": ours_ms / plain_ms, "others_cores": others}


class Kept:
    """The results so far, on disk."""

    def __init__(self, path: Path, facts: dict[str, Any], *, fresh: bool) -> None:
        self.path = path
        stored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() and not fresh else {}
        same = all(stored.get(key) == value for key, value in facts.items())
        self.found: dict[str, Any] = stored if same else dict(facts)

    def fill(self, part: str, times: int, case: Callable[[], dict[str, Any]]) -> None:
        """Run `case` until there are `times` results of `part`."""
        cases = self.found.setdefault(part, [])
        while len(cases) < times:
            cases.append(case())
            print(part, len(cases), cases[-1], file=sys.stderr)
            self.write()

    def write(self) -> None:
        """Sum up and write."""
        for part in ("aa", "ab"):
            decisions = [one["decision"] for one in self.found.get(part, [])]
            names = ("slower", "faster", "same", "undecided")
            self.found[f"{part}_counts"] = {name: decisions.count(name) for name in names}
        if self.found.get("loop"):
            self.found["loop_ratio_median"] = statistics.median(one["ratio"] for one in self.found["loop"])
        self.path.write_text(json.dumps(self.found, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    """Run the parts asked for and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=[], metavar="PART", help="cost, loop, ab, aa (all)")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--target", default="host")
    parser.add_argument("--fresh", action="store_true", help="forget what is there")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results.json"))
    asked = parser.parse_args()
    parts = asked.parts or ["cost", "loop", "ab", "aa"]
    target = load_target(asked.target)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        twenty, more = layers(20, Path(folder) / "20.onnx"), layers(21, Path(folder) / "21.onnx")
        first = _profile({"a": twenty}, target, 1.0, compare=False)
        device = {key: value for key, value in first.device.items() if key != "cpu_flags"}
        kept = Kept(asked.out, {"device": device, "versions": first.versions, "seconds": asked.seconds}, fresh=asked.fresh)
        if "cost" in parts:
            kept.found["cost_ns"] = first.overhead_ns
        if "loop" in parts:
            kept.fill("loop", max(1, asked.times // 4), lambda: loop(twenty, target, asked.seconds / 4))
        if "ab" in parts:
            kept.fill("ab", asked.times, lambda: comparison(twenty, more, target, asked.seconds))
        if "aa" in parts:
            kept.fill("aa", asked.times, lambda: comparison(twenty, twenty, target, asked.seconds))
    kept.write()
    for key in ("cost_ns", "loop_ratio_median", "ab_counts", "aa_counts"):
        print(key, kept.found.get(key))
    print(f"{time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
