"""Prefill, decode and peak memory of one language model in several runtimes, interleaved: rounds of one process each.

    python -m benchmarks.generate --ours FOLDER --genai PYTHON FOLDER --openvino PYTHON PATH --ctranslate2 PYTHON FOLDER
        --llama NODE_FOLDER GGUF --threads 1 --rounds 5 --output FILE.md

Every process opens the model, warms up on another prompt, reads a prompt of random tokens that no other process had (prefix
caches fake prefill) and decodes greedily. Best of the rounds for speeds, because a busy machine only ever slows; the largest
for memory.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import onnxruntime

_PROGRAMS = Path(__file__).parent / "programs"


@dataclass
class Contender:
    """A runtime with a model, and what was measured of it."""

    name: str
    command: list[str]
    model: Path
    folder: Path | None = None
    runs: list[dict[str, float]] = field(default_factory=list)
    failure: str = ""

    def size(self) -> int:
        """Return the bytes of the model's weights."""
        if self.model.is_file():
            return self.model.stat().st_size
        kinds = ("*.onnx", "*.onnx.data", "*.bin", "*.xml")
        return sum(path.stat().st_size for kind in kinds for path in self.model.glob(kind) if "tokenizer" not in path.name)

    def measure(self, threads: int, prompt: int, steps: int, seed: int) -> None:
        """Run once; a failure is kept and ends the contender."""
        if self.failure:
            return
        numbers = map(str, (threads, prompt, steps, seed))
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        found = subprocess.run(
            [*self.command, str(self.model), *numbers],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env=environment,
            timeout=300,
        )
        lines = [line for line in found.stdout.splitlines() if line.startswith("{")]
        if found.returncode or not lines:
            self.failure = (found.stderr.strip().splitlines() or ["no result"])[-1][:120]
            return
        self.runs.append(json.loads(lines[-1]))


def contenders(options: argparse.Namespace) -> list[Contender]:
    """Return the runtimes that were given."""
    engine = [sys.executable, str(_PROGRAMS / "edgeopt_engine.py")]
    found = [Contender(f"edgeopt: {place.name}", engine, place) for place in options.ours or []]
    for name, program in (
        ("genai", "genai_runtime"),
        ("openvino", "openvino_runtime"),
        ("ctranslate2", "ctranslate2_runtime"),
    ):
        for python, model in getattr(options, name) or []:
            command = [python, str(_PROGRAMS / f"{program}.py")]
            found.append(Contender(f"{name}: {Path(model).name}", command, Path(model)))
    for folder, model in options.llama or []:
        program = Path(folder) / "llama.mjs"
        program.write_bytes((_PROGRAMS / "llama.mjs").read_bytes())  # (node looks for packages beside the program)
        found.append(Contender(f"llama.cpp: {Path(model).name}", ["node", str(program)], Path(model), Path(folder)))
    return found


def table(found: list[Contender], prompt: int, threads: int) -> str:
    """Return the results as a Markdown table."""
    lines = [
        f"| {threads} thread(s), prompt of {prompt} | prefill tokens/s | decode tokens/s | RSS MB | file MB |",
        "|---|---|---|---|---|",
    ]
    for contender in found:
        if contender.failure or not contender.runs:
            lines.append(f"| {contender.name} | failed: {contender.failure} | | | |")
            continue
        prefill = max(prompt / run["prefill_s"] for run in contender.runs)
        decode = max(run["steps"] / run["decode_s"] for run in contender.runs)
        rss = max(run["rss"] for run in contender.runs) / 1e6
        lines.append(f"| {contender.name} | {prefill:.0f} | {decode:.1f} | {rss:.0f} | {contender.size() / 1e6:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generate", description=__doc__.splitlines()[0])
    parser.add_argument("--ours", type=Path, action="append", metavar="FOLDER")
    for name in ("genai", "openvino", "ctranslate2", "llama"):
        parser.add_argument(f"--{name}", nargs=2, action="append", metavar=("WITH", "MODEL"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="append the table to this file")
    options = parser.parse_args()
    found = contenders(options)
    for turn in range(options.rounds):
        for contender in found:
            contender.measure(options.threads, options.prompt, options.steps, turn + 1)
    stamp = f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}, onnxruntime {onnxruntime.__version__}, {options.rounds} rounds"
    text = f"{stamp}\n\n{table(found, options.prompt, options.threads)}\n"
    print(text)
    if options.output is not None:
        with options.output.open("a", encoding="utf-8") as file:
            file.write(f"\n{text}")


if __name__ == "__main__":
    main()
