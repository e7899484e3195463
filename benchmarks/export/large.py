"""Peak memory of exporting a model beyond protobuf's 2 GiB: a random decoder of 3 GB, from its file to the checked graph.

    python -m benchmarks.export.large [--layers 10] [--work build/large] [--weights file|memory] [--dtype float16]

The model is made in a process of its own. Exporting runs in another, whose peak (VmHWM: mapped files count) is reset and
read at each phase. Allowed is 1.3 × weights + 1 GB. With ``--weights memory`` the parameters are copied out of the mapped
file first, as they are in a script that has just trained them. Exit status 1 if the peak is above what is allowed, or the
graph differs.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ALLOWED_RATIO, ALLOWED_EXTRA_BYTES = 1.3, 10**9
_PHASES = ("decide", "trace", "to_onnx", "optimize", "_write", "check_parity")


def make(folder: Path, layers: int) -> None:
    """Write a random Llama with wide layers: 10 of them and the embeddings are 0.75 G parameters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32000,
        hidden_size=2048,
        num_hidden_layers=layers,
        num_attention_heads=16,
        num_key_value_heads=8,
        intermediate_size=8192,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)


def status() -> dict[str, int]:
    """Return this process' peak, resident and anonymous memory in bytes."""
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    return {key: int(re.search(rf"{key}:\s+(\d+)", text)[1]) * 1024 for key in ("VmHWM", "VmRSS", "RssAnon")}


class Phases:
    """Records the peak of each phase and resets it for the next."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._started = time.perf_counter()

    def close(self, name: str) -> None:
        """Note what the phase `name` took."""
        now = time.perf_counter()
        self.rows.append({"phase": name.strip("_"), "seconds": now - self._started, **status()})
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._started = time.perf_counter()

    def watch(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Return `function`, noted as a phase each time it returns."""

        def watched(*arguments: Any, **options: Any) -> Any:
            result = function(*arguments, **options)
            self.close(name)
            return result

        return watched


def measure(source: Path, output: Path, *, weights: str, dtype: Any) -> dict[str, Any]:
    """Export the model at `source` as `dtype` in this process and return the phases and the result."""
    import torch

    from edgeopt.export import ExportConfig, stage
    from edgeopt.models.load import load_model
    from edgeopt.targets.target import load_target

    phases = Phases()
    phases.close("import")
    for name in _PHASES:
        setattr(stage, name, phases.watch(getattr(stage, name), name))
    model = load_model(source).module
    if weights == "memory":
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.data = parameter.data.clone()
    phases.close("load")
    result = stage.export(model, None, target=load_target("x86-vnni"), output=output, config=ExportConfig(dtype=dtype))
    phases.close("end")
    return {
        "phases": phases.rows,
        "relative_error": result.parity.relative_error,
        "files": [str(file) for file in result.files],
    }


def table(found: dict[str, Any], weights_bytes: int) -> str:
    """Return the phases as Markdown, and what is allowed."""
    lines = ["| phase | seconds | peak, MB | afterwards: resident | of it anonymous |", "|---|---|---|---|---|"]
    for row in found["phases"]:
        sizes = " | ".join(f"{row[key] / 1e6:.0f}" for key in ("VmHWM", "VmRSS", "RssAnon"))
        lines.append(f"| {row['phase']} | {row['seconds']:.0f} | {sizes} |")
    peak = max(row["VmHWM"] for row in found["phases"])
    allowed = ALLOWED_RATIO * weights_bytes + ALLOWED_EXTRA_BYTES
    lines.append(
        f"\nWeights {weights_bytes / 1e6:.0f} MB, peak {peak / 1e6:.0f} MB = {peak / weights_bytes:.2f} × weights, allowed "
        f"{allowed / 1e6:.0f} MB; relative error {found['relative_error']:.1e}."
    )
    return "\n".join(lines)


def main() -> int:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--work", type=Path, default=Path("build/large"))
    parser.add_argument("--weights", choices=["file", "memory"], default="file")
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"])
    parser.add_argument("--step", choices=["make", "measure"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    source, output = arguments.work / f"source{arguments.layers}", arguments.work / "exported"
    if arguments.step == "make":
        make(source, arguments.layers)
        return 0
    if arguments.step == "measure":
        print(json.dumps(measure(source, output, weights=arguments.weights, dtype=arguments.dtype)))
        return 0
    again = [sys.executable, "-m", "benchmarks.export.large", *sys.argv[1:]]
    if not (source / "config.json").is_file():
        subprocess.run([*again, "--step", "make"], check=True, stdout=subprocess.DEVNULL)
    done = subprocess.run([*again, "--step", "measure"], check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    weights_bytes = sum(file.stat().st_size for file in source.glob("*.safetensors"))
    print(table(found, weights_bytes))
    shutil.rmtree(output)
    peak = max(row["VmHWM"] for row in found["phases"])
    return 0 if peak <= ALLOWED_RATIO * weights_bytes + ALLOWED_EXTRA_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
