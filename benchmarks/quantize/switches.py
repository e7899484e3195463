"""What each switch of the quantization gains: one at a time against the defaults, on MobileNetV2 and the SST-2 classifier.

    python -m benchmarks.quantize.switches --data DATA --work FOLDER [--time] [--reuse] > benchmarks/quantize/SWITCHES.md

Every row is one call of `quantize` for x86-vnni (seed 0, 128 samples to calibrate) with one thing changed, judged on held-out
samples (800; ``--held-out``): accuracy, agreement with floating point, SQNR of the logits. ``--time`` adds how many times as
fast as floating point each is, one thread, all models taking turns on every sample (`turns.py`); for a quiet machine only.
``--reuse`` takes the files of an earlier run in FOLDER instead of quantizing again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from benchmarks.quantize.tasks import TASKS, TRAINED_ELSEWHERE, Task
from benchmarks.quantize.turns import in_turns
from edgeopt.errors import EdgeoptError
from edgeopt.graph import files as onnx_files
from edgeopt.machine import cpu_flags, describe
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.sqnr import sqnr_db
from edgeopt.targets.target import Target, load_target

_SAMPLES = 128


@dataclass(frozen=True)
class Row:
    """One thing changed: options of the quantization, or what the target wants of it; perhaps for some tasks only."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    target: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] = ("mobilenetv2", "sst2")


_PER_TENSOR = {"per_channel": False}
_TEXT, _PICTURES = ("sst2",), ("mobilenetv2",)
ROWS = (
    Row("**default**"),
    *(Row(f'`ranges = "{name}"`', {"ranges": name}) for name in ("min-max", "moving-average", "percentile", "mse", "entropy")),
    Row('`float_layers = "none"`', {"float_layers": "none"}, tasks=_PICTURES),
    Row("`smooth = false` (no SmoothQuant)", {"smooth": False}, tasks=_TEXT),
    Row("`correct_bias = false`", {"correct_bias": False}),
    Row('`weight_ranges = "mse"`', {"weight_ranges": "mse"}),
    Row('`rounding = "adaptive"` (AdaRound)', {"rounding": "adaptive"}),
    Row("`embeddings = false`", {"embeddings": False}, tasks=_TEXT),
    Row("`prefer_faster = true`", {"prefer_faster": True}),
    Row("one range around Add and Concat (`shared`)", target={"shared": ["Add", "Concat"]}, tasks=_PICTURES),
    Row("7-bit weights everywhere", target={"reduce_range": "always"}),
    Row("16-bit activations", target={"activation": "uint16"}),
    Row("one weight scale per tensor", target=_PER_TENSOR),
    Row("… `equalize = false`", {"equalize": False}, _PER_TENSOR, tasks=_PICTURES),
    Row("… `smooth = false`", {"smooth": False}, _PER_TENSOR, tasks=_TEXT),
    Row("… `correct_bias = false`", {"correct_bias": False}, _PER_TENSOR),
    Row('… `weight_ranges = "mse"`', {"weight_ranges": "mse"}, _PER_TENSOR),
    Row('… `rounding = "adaptive"`', {"rounding": "adaptive"}, _PER_TENSOR),
    *(
        Row(f'`scheme = "{name}"`', {"scheme": name})
        for name in ("dynamic", "float16", "bfloat16", "weights-int8", "weights-int4")
    ),
    Row("… int4, `accuracy_level = 4`", {"scheme": "weights-int4", "weights": {"accuracy_level": 4}}, tasks=_TEXT),
    Row('… int4, `method = "gptq"`', {"scheme": "weights-int4", "weights": {"method": "gptq"}}, tasks=_TEXT),
    Row('… int4, `method = "hqq"`', {"scheme": "weights-int4", "weights": {"method": "hqq"}}, tasks=_TEXT),
)


def main() -> None:
    """Run the rows as asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder of real models and data")
    parser.add_argument("--work", type=Path, required=True, help="folder for models")
    parser.add_argument("--tasks", nargs="+", choices=TRAINED_ELSEWHERE, default=TRAINED_ELSEWHERE)
    parser.add_argument("--held-out", type=int, default=800, help="samples to judge on, at most")
    parser.add_argument("--time", action="store_true", help="time the models as well (a quiet machine)")
    parser.add_argument("--reuse", action="store_true", help="take the files that are in FOLDER already")
    arguments = parser.parse_args()
    timed = "times of one thread, all models in turns" if arguments.time else "not timed"
    print(f"# What each switch gains\n\n{datetime.now(UTC):%Y-%m-%d}, {_device()}; onnxruntime {ort.__version__}, ", end="")
    print(f"onnx {onnx.__version__}, numpy {np.__version__}; target x86-vnni, seed 0, {timed}.")
    print("`python -m benchmarks.quantize.switches` makes this table. One answer in 800 is 0.125 points.", flush=True)
    for name in arguments.tasks:
        task = TASKS[name](arguments.data, arguments.work, 0, _SAMPLES)
        task = replace(task, labels=task.labels[: arguments.held_out])
        print(f"\n{_table(task, arguments.work / f'switches-{name}', arguments)}", flush=True)


def _device() -> str:
    """Return the processor's name and features that matter to int8 kernels."""
    flags = [name for name in ("avx512_vnni", "avx_vnni", "amx_int8") if name in cpu_flags()]
    return f"{describe()['processor']} ({', '.join(flags) or 'no VNNI'})"


def _table(task: Task, folder: Path, arguments: argparse.Namespace) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    files, seconds, notes = {"floating point": task.model}, {"floating point": 0.0}, []
    for number, row in enumerate(row for row in ROWS if task.name in row.tasks):
        output = folder / f"{number:02d}.onnx"
        try:
            seconds[row.name] = _made(task, row, output, reuse=arguments.reuse)
        except EdgeoptError as error:
            notes.append(f"- {row.name}: {error}")
            continue
        files[row.name] = output
    head = [
        "how",
        "accuracy",
        "agreement",
        "SQNR of the logits",
        *(["× fp32"] if arguments.time else []),
        "processor seconds",
        "MB",
    ]
    lines = [f"## {task.name}, {len(task.labels)} held-out samples\n", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    logits, times = in_turns(files, islice(task.held_out, len(task.labels)))
    exact = logits["floating point"]
    for name, got in logits.items():
        right = (got.argmax(axis=1) == task.labels).mean()
        same = (got.argmax(axis=1) == exact.argmax(axis=1)).mean()
        noise = sqnr_db(float(np.square(exact).sum()), float(np.square(exact - got).sum()))
        cells = [name, f"{right:.4f}", f"{same:.4f}", f"{noise:.1f} dB"]
        if name == "floating point":
            cells[3] = ""
        if arguments.time:
            cells.append(f"{median(a / b for a, b in zip(times['floating point'], times[name], strict=True)):.2f}")
        cells += [f"{seconds[name]:.0f}" if seconds[name] else "", f"{onnx_files.size_bytes(files[name]) / 1e6:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _made(task: Task, row: Row, output: Path, *, reuse: bool) -> float:
    """Quantize by `row`, unless that is there already, and return the processor seconds it took (or had taken)."""
    about = output.with_suffix(".json")
    wanted = {"name": row.name, "options": dict(row.options), "target": dict(row.target)}
    if reuse and about.is_file() and output.is_file():
        known = json.loads(about.read_text(encoding="utf-8"))
        if {key: known.get(key) for key in wanted} == wanted:
            return float(known["seconds"])
    config = QuantizeConfig.read(dict(row.options), where=row.name)
    start = time.process_time()
    quantize(task.model, task.calibration, target=_target(row.target), output=output, config=config)
    seconds = time.process_time() - start
    about.write_text(json.dumps({**wanted, "seconds": seconds}), encoding="utf-8")
    return seconds


def _target(changes: Mapping[str, Any]) -> Target:
    """Return x86-vnni with other wishes."""
    target = load_target("x86-vnni")
    rules = {key: value for key, value in changes.items() if key == "shared"}
    others = {key: value for key, value in changes.items() if key != "shared"}
    wishes = target.quantization
    wishes = wishes.model_copy(update={**others, "rules": wishes.rules.model_copy(update=rules)})
    return target.model_copy(update={"quantization": wishes})


if __name__ == "__main__":
    main()
