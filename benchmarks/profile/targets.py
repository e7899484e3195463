"""One model on every target that is really here: the table of docs/how-to/targets.md, with a report for each target.

    python -m benchmarks.profile.targets [--data ../shared/data] [--work build/bench-targets] [--seconds 15] [TARGET…]

ultraface-slim (81 M MACs, 320×240), float and int8 quantized by each target's own rules. Targets that are not here are listed
with the reason. Reports go to WORK/<target>/report.html, the figures to targets.json beside this file; four minutes in all.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from edgeopt.batches import Batch
from edgeopt.data.sets import load_set
from edgeopt.errors import EdgeoptError
from edgeopt.profile import ProfileConfig, ProfileResult, profile
from edgeopt.quantize import quantize
from edgeopt.report import RunRecord, StageRecord, build_report, write_report
from edgeopt.targets.availability import available
from edgeopt.targets.target import load_target

TARGETS = ("host", "openvino-cpu", "browser-wasm", "node-cpu", "arm64-emulated", "qnn-htp-emulated", "cuda")
_SLOW_IN_FLOAT = ("qnn-htp-emulated",)  # minutes for one run of a float model
_CALIBRATION = 16
_COUNTED_RUNS = 2


def measure(name: str, model: Path, batches: list[Batch], work: Path, seconds: float, *, count: bool) -> dict[str, Any]:
    """Quantize `model` for the target, profile both files there, write the report, and return the figures."""
    target = load_target(name)
    here = available(target)
    if not here.ok:
        return {"target": target.name, "missing": "; ".join(here.reasons)}
    folder = work / target.name
    folder.mkdir(parents=True, exist_ok=True)
    int8 = folder / "int8.onnx"
    quantize(model, batches, target=target, output=int8)
    models = {"int8": int8} if name in _SLOW_IN_FLOAT else {"fp32": model, "int8": int8}
    begin = time.monotonic()
    config = ProfileConfig(seconds=seconds, max_batches=4, instruction_runs=_COUNTED_RUNS if count else 0)
    try:
        result = profile(models, batches, target=target, config=config)
    except EdgeoptError as error:
        return {"target": target.name, "missing": str(error)}
    elapsed_s = time.monotonic() - begin
    stage = StageRecord("profile", "", "made", elapsed_s, result.facts())
    record = RunRecord(f"ultraface-slim on {target.name}", {}, target.name, (stage,), result.versions, result.device)
    write_report(build_report(record), folder)
    return {"target": target.name, "elapsed_s": round(elapsed_s, 1), **_figures(result)}


def _figures(result: ProfileResult) -> dict[str, Any]:
    variants: dict[str, Any] = {}
    for variant in result.variants:
        p50 = next((item for item in variant.latency if item.statistic == "p50"), None)
        variants[variant.name] = {
            "p50_ms": [p50.value_ms, p50.low_ms, p50.high_ms] if p50 else None,
            "int8_macs_share": variant.int8_macs_share,
            "floor_ms": variant.floor_ms,
            "partitions": variant.placement.partitions if variant.placement else None,
            "cpu_fallback_share": variant.placement.cpu_fallback_share if variant.placement else None,
            "numerics": None if variant.numerics is None else vars(variant.numerics),
            "instructions": variant.instructions,
            "peak_rss_bytes": variant.peak_rss_bytes,
        }
    pairs = [vars(pair) for pair in result.comparisons]
    others = result.conditions.others_cores if result.conditions else None
    return {
        "emulated": result.emulated,
        "versions": result.versions,
        "variants": variants,
        "comparisons": pairs,
        "others_cores": others,
    }


def row(found: dict[str, Any]) -> str:
    """Return the target's line of the table."""
    if "missing" in found:
        return f"| {found['target']} | not here: {found['missing']} | | | |"
    unknown = "never" if found["emulated"] else "too few runs"
    cells = [f"{found['target']}, {found['versions'].get('onnxruntime', '')}"]
    for name in ("fp32", "int8"):
        variant = found["variants"].get(name)
        p50 = variant and variant["p50_ms"]
        cells.append("{:.2f} [{:.2f}, {:.2f}]".format(*p50) if p50 else unknown if variant else "(not run)")
    pair = next(iter(found["comparisons"]), None)
    ratio = f"{pair['ratio']:.2f} [{pair['low']:.2f}, {pair['high']:.2f}], {pair['decision']}" if pair and pair["low"] else ""
    return "| " + " | ".join([*cells, ratio, _besides(found["variants"])]) + " |"


def _besides(variants: dict[str, Any]) -> str:
    said = []
    for name, variant in variants.items():
        if variant["numerics"]:
            error = variant["numerics"]["relative_error"]
            how = "without bounds" if error is None else f"by {error:.2g} of the largest output"
            said.append(f"{name} differs from this machine's CPU {how}")
        if variant["instructions"]:
            said.append(f"{name}: {variant['instructions'] / 1e6:,.1f} M instructions per run")
        if variant["cpu_fallback_share"]:
            said.append(f"{name}: {variant['cpu_fallback_share']:.1%} fell back to the CPU")
        if variant["partitions"] and variant["partitions"] > 1:
            said.append(f"{name}: {variant['partitions']} partitions")
    int8 = variants["int8"]
    if int8["int8_macs_share"] is not None:
        said.append(f"{int8['int8_macs_share']:.0%} of int8's MACs in integers")
    return "; ".join(said)


def main() -> None:
    """Measure the targets asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("build/bench-targets"))
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--count", action="store_true", help="instructions, too, where an emulator counts them (minutes)")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("targets.json"))
    asked = parser.parse_args()
    model = asked.data / "ultraface_slim" / "version-slim-320.onnx"
    batches = list(load_set("ultraface")["calibration"].first(_CALIBRATION).batches(1))
    found = []
    for name in asked.targets or TARGETS:
        found.append(measure(name, model, batches, asked.work, asked.seconds, count=asked.count))
        print(row(found[-1]), file=sys.stderr)
    asked.out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print("| target | fp32 p50 ms | int8 p50 ms | int8 / fp32 | also reported |\n|---|---|---|---|---|")
    print("\n".join(row(one) for one in found))


if __name__ == "__main__":
    main()
