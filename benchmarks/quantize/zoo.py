"""Strangers' models: each is quantized validly, or refused in one line; nothing in between.

    python -m benchmarks.quantize.zoo FOLDER [--targets x86-vnni qnn-htp-emulated …]

FOLDER holds ONNX files. Inputs are random, so ranges mean little and accuracy nothing: what is asked is whether the result
passes the checker, loads, gives finite numbers where the original does, and how much of it runs on integers.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from edgeopt.data.random_inputs import random_batches
from edgeopt.errors import EdgeoptError
from edgeopt.quantize import quantize
from edgeopt.quantize.plan.plan import load_plan
from edgeopt.targets.target import load_target


@dataclass(frozen=True)
class Row:
    """What became of one model: quantized, unchanged, refused or (which must not be) broken."""

    outcome: str
    detail: str


def examine(path: Path, target: str) -> Row:
    """Quantize the model at `path` for `target` with default arguments on random inputs, and look at the result."""
    with tempfile.TemporaryDirectory(prefix="edgeopt-zoo-") as folder:
        try:
            batches = random_batches(path, count=3)
            result = quantize(path, batches, target=load_target(target), output=Path(folder) / "q.onnx")
        except EdgeoptError as error:
            said = str(error).replace(str(path), path.name)
            return Row("broken", "refusal of several lines") if "\n" in said else Row("refused", said)
        except Exception as error:  # noqa: BLE001  (any other exception is the finding)
            return Row("broken", f"{type(error).__name__}: {str(error).splitlines()[0][:150] if str(error) else ''}")
        fault = _fault(path, result.path, batches[0])
        if fault:
            return Row("broken", fault)
        share, islands = result.facts.coverage.int8_macs_share, result.facts.coverage.islands
        plan = load_plan(result.plan_path)
        if not plan.integer_nodes:
            reasons = dict.fromkeys(f"{node.op}: {node.reason}" for node in plan.nodes)
            return Row("unchanged", "; ".join(list(reasons)[:2]) or "no floating-point node")
        said = [] if share is None else [f"{share:.0%} of MACs on integers"]  # (it has none, or the provider is not here)
        said += [f"islands: {', '.join(sorted({island.op for island in islands}))}"] if islands else []
        return Row("quantized", ", ".join(said))


def _fault(path: Path, quantized: Path, batch: dict[str, np.ndarray]) -> str:
    try:
        onnx.checker.check_model(str(quantized))
    except onnx.checker.ValidationError as error:
        return f"the checker says: {str(error).splitlines()[0][:150]}"
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        before, after = (
            ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"]).run(None, batch)
            for file in (path, quantized)
        )
    except Exception as error:  # noqa: BLE001  (onnxruntime's exceptions share no base)
        return f"it does not run: {str(error).splitlines()[0][:150]}"
    for a, b in zip(before, after, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"gives {b.dtype}{list(b.shape)} where the original gives {a.dtype}{list(a.shape)}"
        if np.issubdtype(a.dtype, np.floating) and np.isfinite(a).all() and not np.isfinite(b).all():
            return "gives numbers that are not finite"
    return ""


def main() -> None:
    """Examine every file and print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--targets", nargs="+", default=["x86-vnni"])
    arguments = parser.parse_args()
    print(f"| model | {' | '.join(arguments.targets)} |\n|---|{'---|' * len(arguments.targets)}")
    counts: Counter[tuple[str, str]] = Counter()
    for path in sorted(arguments.folder.rglob("*.onnx")):
        rows = {target: examine(path, target) for target in arguments.targets}
        counts.update((target, row.outcome) for target, row in rows.items())
        cells = [f"{row.outcome}{': ' * bool(row.detail)}{row.detail}".replace("|", "/") for row in rows.values()]
        print(f"| {path.name} | {' | '.join(cells)} |", flush=True)
    print()
    for (target, outcome), count in sorted(counts.items()):
        print(f"- {target}: {count} {outcome}")


if __name__ == "__main__":
    main()
