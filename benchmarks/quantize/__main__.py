"""Quantize with every tool, evaluate on held-out samples, time interleaved, and print one Markdown table per task.

    python -m benchmarks.quantize --data DATA --work FOLDER [--nncf PYTHON] [--olive PYTHON] [--seeds 3] [--reuse]

Run it on a quiet machine; ``--reuse`` takes the files, seconds and memory of an earlier run in FOLDER, so that one that was
stopped goes on. Peers live in environments of their own: pass the Python of each, or they are left out and the table
says so. Set up, for example: ``python3.11 -m venv A && A/bin/pip install nncf==3.4.0 onnx onnxruntime``.
"""

from __future__ import annotations

import argparse
import platform
import shutil
from collections import defaultdict
from pathlib import Path
from statistics import mean, median

import numpy as np
import onnxruntime as ort

from benchmarks.quantize import contenders
from benchmarks.quantize.tasks import TASKS, Task
from benchmarks.quantize.turns import in_turns
from edgeopt.errors import ModelError
from edgeopt.graph.session import open_session


def main() -> None:
    """Run the benchmark as asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder of real models and data")
    parser.add_argument("--work", type=Path, required=True, help="folder for models and samples")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--only", nargs="+", help="contenders to run; all if left out")
    parser.add_argument("--nncf", type=Path, help="Python of an environment with NNCF")
    parser.add_argument("--olive", type=Path, help="Python of an environment with Olive")
    parser.add_argument("--reuse", action="store_true", help="take the files that are in FOLDER already")
    arguments = parser.parse_args()
    print(f"onnxruntime {ort.__version__}, {platform.machine()}, {platform.processor() or 'CPU'}, one thread\n")
    for name in arguments.tasks:
        print(_table(name, arguments), flush=True)


def _table(name: str, arguments: argparse.Namespace) -> str:
    pythons = {"nncf": arguments.nncf, "olive": arguments.olive}
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    notes: list[str] = []
    for seed in range(arguments.seeds):
        task = TASKS[name](arguments.data, arguments.work, seed, arguments.samples)
        samples = _write_samples(task, arguments.work / f"{name}-{seed}")
        files = {"fp32": task.model}
        outcomes = {}
        for contender, program in contenders.programs(name).items():
            python = pythons.get(contender, contenders.here())
            if arguments.only and contender not in arguments.only:
                continue
            if python is None:
                notes.append(f"{contender}: left out, no environment was given")
                continue
            output = arguments.work / f"{name}-{seed}-{contender.replace(', ', '-')}.onnx"
            if not (arguments.reuse and contenders.record_of(output).is_file()):
                output.unlink(missing_ok=True)
                shutil.rmtree(output.with_suffix(".cache"), ignore_errors=True)  # Olive's: it would calibrate nothing
                contenders.run(program, python, task.model, samples, output)
            outcome = contenders.read_outcome(output)
            failure = outcome.failure or _refusal(output)
            if failure:
                notes.append(f"{contender}, seed {seed}: failed: {failure}")
            else:
                files[contender], outcomes[contender] = output, outcome
        for contender, row in _judge(task, files).items():
            outcome = outcomes.get(contender)
            row["seconds"] = outcome.seconds if outcome else float("nan")
            row["peak_mb"] = outcome.peak_rss_bytes / 1e6 if outcome else float("nan")
            rows[contender].append(row)
    return _markdown(name, rows, sorted(set(notes)))


def _write_samples(task: Task, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.npz"):
        old.unlink()
    for number, sample in enumerate(task.calibration):
        np.savez(folder / f"{number:05d}.npz", **sample)
    return folder


def _refusal(path: Path) -> str:
    """Return why onnxruntime does not load the file, or nothing if it does."""
    try:
        open_session(path)
    except ModelError as error:
        return f"onnxruntime does not load its file: {str(error.__cause__).splitlines()[0][:200]}"
    return ""


def _judge(task: Task, files: dict[str, Path]) -> dict[str, dict[str, float]]:
    """Every model sees each held-out sample in turn (see `turns.py`)."""
    logits, times = in_turns(files, task.held_out)
    answers = {name: values.argmax(axis=1) for name, values in logits.items()}
    return {
        name: {
            "accuracy": float((answers[name] == task.labels).mean()),
            "agreement": float((answers[name] == answers["fp32"]).mean()),
            "ms": mean(times[name]) * 1e3,
            "faster": median(a / b for a, b in zip(times["fp32"], times[name], strict=True)),
            "mb": files[name].stat().st_size / 1e6,
        }
        for name in files
    }


def _markdown(name: str, rows: dict[str, list[dict[str, float]]], notes: list[str]) -> str:
    lines = [
        f"## {name}",
        "",
        "| how | accuracy (mean, min – max over seeds) | agreement | mean ms | × fp32 | MB | CPU s | peak MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for contender, runs in rows.items():
        accuracy, agreement = ([run[key] for run in runs] for key in ("accuracy", "agreement"))
        cells = [
            contender,
            f"{mean(accuracy):.4f} ({min(accuracy):.4f} – {max(accuracy):.4f})",
            f"{mean(agreement):.4f} ({min(agreement):.4f} – {max(agreement):.4f})",
            f"{mean(run['ms'] for run in runs):.2f}",
            f"{mean(run['faster'] for run in runs):.2f}",
            f"{mean(run['mb'] for run in runs):.1f}",
            f"{mean(run['seconds'] for run in runs):.1f}",
            f"{mean(run['peak_mb'] for run in runs):.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"- {note}" for note in notes), ""])


if __name__ == "__main__":
    main()
