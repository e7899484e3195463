"""How long does calibration alone take, and how much memory? edgeopt's observer beside its peers' on the same samples.

    python -m benchmarks.quantize.race --data DATA --work FOLDER [--nncf PYTHON] [--olive PYTHON]

Run it on a quiet machine; about five minutes. Every contender is a process of its own (`race_programs.py`) on one core. Seconds
are of calibrating alone, without imports; of NNCF and Olive, which do not part the two, of quantizing as well. "× inference" is
of processor seconds, peak memory the whole process's. There are 1,000 photographs: the last 24 of 1,024 are crops of the first.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from benchmarks.quantize import race_programs
from benchmarks.quantize.tasks import TASKS, TRAINED_ELSEWHERE, export_model


@dataclass(frozen=True)
class Row:
    """One contender's result on this many samples; `failure` says why there is none."""

    task: str
    contender: str
    samples: int
    seconds: float = float("nan")
    processor: float = float("nan")
    peak_mb: float = float("nan")
    failure: str = ""


def main() -> None:
    """Run the race as asked on the command line, and print one Markdown table per task."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of real models and data")
    parser.add_argument("--work", type=Path, required=True, help="folder for models and samples")
    parser.add_argument("--nncf", type=Path, help="Python of an environment with NNCF")
    parser.add_argument("--olive", type=Path, help="Python of an environment with Olive")
    parser.add_argument("--tasks", nargs="+", choices=TRAINED_ELSEWHERE, default=TRAINED_ELSEWHERE)
    parser.add_argument("--counts", nargs="+", type=int, default=[128, 1024])
    parser.add_argument("--only", nargs="+", help="contenders to run; all if left out")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    print(f"onnxruntime {ort.__version__}, {platform.machine()}, one core\n")
    pythons = {"nncf": arguments.nncf, "olive": arguments.olive}
    for task in arguments.tasks:
        model = export_model(task, arguments.data, arguments.work)
        samples = _images(arguments) if task == "mobilenetv2" else _sentences(arguments)
        rows = []
        for count in arguments.counts:
            for name, (program, most) in race_programs.programs(task).items():
                if (arguments.only and name not in arguments.only) or count > most:
                    continue
                python = pythons.get(name, Path(sys.executable))
                if python is None:
                    rows.append(Row(task, name, count, failure="no environment was given"))
                    continue
                rows.append(_race(Row(task, name, count), program, python, [model, samples, arguments.work / "race"]))
                print(rows[-1], file=sys.stderr, flush=True)
        print(_table(task, rows), flush=True)


def _race(row: Row, program: str, python: Path, paths: list[Path]) -> Row:
    command = [str(python), "-W", "ignore", "-c", race_programs.READER + program, *map(str, paths), str(row.samples)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("RACE ")]
    if done.returncode != 0 or not found:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1][:160]
        return Row(row.task, row.contender, row.samples, failure=last)
    return Row(row.task, row.contender, row.samples, float(found[-1][0]), float(found[-1][1]), float(found[-1][2]) * 1024 / 1e6)


def _table(task: str, rows: list[Row]) -> str:
    plain = {row.samples: row for row in rows if row.contender == "inference"}
    alive = {row.samples: row for row in rows if row.contender == "inference, all activations alive"}
    lines = [
        f"## {task}",
        "",
        "| who | samples | seconds | processor seconds | × inference | peak MB | × inference with all activations alive |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row.failure:
            lines.append(f"| {row.contender} | {row.samples} | failed: {row.failure} | | | | |")
            continue
        times = row.processor / plain[row.samples].processor if row.samples in plain else float("nan")
        memory = row.peak_mb / alive[row.samples].peak_mb if row.samples in alive else float("nan")
        cells = [row.contender, row.samples, f"{row.seconds:.2f}", f"{row.processor:.2f}"]
        cells += [f"{times:.2f}", f"{row.peak_mb:.0f}", f"{memory:.2f}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, ""])


def _images(arguments: argparse.Namespace) -> Path:
    """Write 1,024 images as bytes, [1024, 3, 224, 224]."""
    from PIL import Image

    path: Path = arguments.work / "images.u8"
    if path.is_file():
        return path
    files = sorted((arguments.data / "nips17_imagenet_compatible" / "images").iterdir())
    with path.with_suffix(".part").open("wb") as stream:
        for number in range(1024):
            image = Image.open(files[number % len(files)]).convert("RGB")
            if number >= len(files):
                image = image.crop((20, 20, image.width - 20, image.height - 20))
            pixels = np.asarray(image.resize((224, 224), Image.Resampling.BILINEAR))
            stream.write(np.ascontiguousarray(pixels.transpose(2, 0, 1)).tobytes())
    path.with_suffix(".part").replace(path)
    return path


def _sentences(arguments: argparse.Namespace) -> Path:
    """Write 1,024 training sentences as token ids, one sentence per line."""
    path: Path = arguments.work / "sentences.jsonl"
    task = TASKS["sst2"](arguments.data, arguments.work, 0, 1024)
    path.write_text("\n".join(json.dumps(sample["input_ids"][0].tolist()) for sample in task.calibration), encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
