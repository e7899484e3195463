"""Who quantizes: edgeopt here, peers in environments of their own (paths to their Python), each writing one ONNX file.

A contender is one short program that reads the model and calibration samples (.npz files) and writes its result; it runs in a
process of its own, so that its peak memory can be measured too.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

_READER = """
import sys, glob, numpy as np
open("/proc/self/clear_refs", "w").write("5")  # reset the peak
model, samples, output = sys.argv[1:4]
files = sorted(glob.glob(samples + "/*.npz"))
def rows():
    for file in files:
        with np.load(file) as loaded:
            yield {name: loaded[name] for name in loaded.files}
"""

_PEAK = """
print(next("PEAK " + line for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
"""Not getrusage: a child's ru_maxrss starts at its parent's peak, which Linux keeps across fork and exec."""

_EDGEOPT = """
from pathlib import Path
from edgeopt.quantize import quantize
from edgeopt.targets.target import load_target
class Batches:
    def __len__(self): return len(files)
    def __iter__(self): return rows()
quantize(Path(model), Batches(), target=load_target("x86-vnni"), output=Path(output))
"""

_ONNXRUNTIME = """
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
class Reader(CalibrationDataReader):
    def __init__(self): self.rows = rows()
    def get_next(self): return next(self.rows, None)
quant_pre_process(model, output + ".pre.onnx", skip_symbolic_shape=True)
quantize_static(output + ".pre.onnx", output, Reader(){arguments})
"""

_HAND_PICKED = ", per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8"

_NNCF = """
import nncf, onnx
nncf.quantize
dataset = nncf.Dataset(list(rows()))
kind = nncf.ModelType.TRANSFORMER if {transformer} else None
onnx.save(nncf.quantize(onnx.load(model), dataset, subset_size=len(files), model_type=kind), output)
"""

_OLIVE = """
import json, pathlib, shutil
from olive.workflows import run
from olive.data.registry import Registry
from olive.data.config import DataConfig
import torch
class Rows(torch.utils.data.Dataset):
    def __init__(self): self.rows = [(row, 0) for row in rows()]
    def __len__(self): return len(self.rows)
    def __getitem__(self, index): return self.rows[index]
@Registry.register_dataset()
def benchmark_rows(**_): return Rows()
@Registry.register_dataloader()
def benchmark_loader(dataset, **_): return [dataset[index] for index in range(len(dataset))]
folder = pathlib.Path(output).with_suffix("")
run({{
    "input_model": {{"type": "ONNXModel", "model_path": model}},
    "data_configs": [{{"name": "rows", "type": "DataContainer", "load_dataset_config": {{"type": "benchmark_rows"}},
        "dataloader_config": {{"type": "benchmark_loader"}}}}],
    "passes": {{"q": {{"type": "OnnxStaticQuantization", "data_config": "rows", "quant_format": "QDQ", "per_channel": True,
        "activation_type": "uint8", "precision": "int8"}}}},
    "output_dir": str(folder), "cache_dir": str(folder) + ".cache", "log_severity_level": 3,
}})
shutil.copy(next(folder.rglob("model.onnx")), output)
"""

OLIVE_RACE = f"""
import shutil
output = work + ".olive.onnx"
shutil.rmtree(work + ".olive.cache", ignore_errors=True)
start = clock()
{_OLIVE.format()}
finish(start)
"""
"""Olive's program in the race, which reads the samples by itself, and without what Olive kept of an earlier run."""


@dataclass(frozen=True)
class Outcome:
    """How a contender fared: processor seconds and peak memory of calibrating and quantizing, or why it failed."""

    seconds: float
    peak_rss_bytes: int
    failure: str


def programs(task: str) -> dict[str, str]:
    """Return the program of each contender, by name."""
    return {
        "edgeopt": _EDGEOPT,
        "onnxruntime, defaults": _ONNXRUNTIME.format(arguments=""),
        "onnxruntime, hand-picked": _ONNXRUNTIME.format(arguments=_HAND_PICKED),
        "nncf": _NNCF.format(transformer=task == "sst2"),
        "olive": _OLIVE.format(),
    }


def record_of(output: Path) -> Path:
    """Return the file beside `output` that keeps how its contender fared."""
    return output.with_suffix(".outcome.json")


def read_outcome(output: Path) -> Outcome:
    """Return how the contender that wrote `output` fared."""
    return Outcome(**json.loads(record_of(output).read_text(encoding="utf-8")))


def run(program: str, python: Path, model: Path, samples: Path, output: Path) -> None:
    """Run a contender's program with its Python, and keep how it fared beside `output`."""
    record_of(output).unlink(missing_ok=True)
    outcome = _run(program, python, model, samples, output)
    record_of(output).write_text(json.dumps(asdict(outcome)), encoding="utf-8")


def _run(program: str, python: Path, model: Path, samples: Path, output: Path) -> Outcome:
    start = _spent_by_children()
    done = subprocess.run(
        [str(python), "-c", _READER + program + _PEAK, str(model), str(samples), str(output)],
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = _spent_by_children() - start
    if done.returncode != 0 or not output.is_file():
        return Outcome(seconds, 0, (done.stderr.strip().splitlines() or ["no output"])[-1][:200])
    peak = next(int(line.split()[2]) * 1024 for line in done.stdout.splitlines() if line.startswith("PEAK "))
    return Outcome(seconds, peak, "")


def _spent_by_children() -> float:
    """Return the processor seconds of all processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def here() -> Path:
    """Return this Python."""
    return Path(sys.executable)
