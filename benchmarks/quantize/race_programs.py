"""The contenders of the race: each a short program that calibrates and prints its seconds and its peak memory."""

from __future__ import annotations

READER = """
import os
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # before any library counts the cores
import json, sys, time, numpy as np
open("/proc/self/clear_refs", "w").write("5")  # the peak starts again
model, samples, work, count = *sys.argv[1:4], int(sys.argv[4])
def rows():
    if samples.endswith(".u8"):
        with open(samples, "rb") as stream:
            for _ in range(count):
                pixels = np.frombuffer(stream.read(3 * 224 * 224), np.uint8).reshape(1, 3, 224, 224)
                yield {"pixel_values": (pixels.astype(np.float32) - 127.5) / 127.5}
    else:
        with open(samples) as stream:
            for _ in range(count):
                ids = np.array([json.loads(next(stream))])
                yield {"input_ids": ids, "attention_mask": np.ones_like(ids)}
class Batches:
    def __len__(self): return count
    def __iter__(self): return rows()
def session(source):
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
def clock(): return np.array([time.perf_counter(), time.process_time()])
def finish(start):
    wall, processor = clock() - start
    peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print("RACE", wall, processor, peak)
"""

_INFERENCE = """
run = session(model)
run.run(None, next(rows()))
start = clock()
for row in rows():
    run.run(None, row)
finish(start)
"""

_OBSERVED = """
from pathlib import Path
import edgeopt.quantize.planner as planning
from edgeopt.graph import files
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.prepare import prepare
from edgeopt.quantize.calibrate.calibrator import ObserveConfig
from edgeopt.quantize.calibrate.observe import observe
from edgeopt.quantize.calibrate.ranges import METHODS, Grid, choose_range
from edgeopt.quantize.plan.placement import place, rounded_tensors
from edgeopt.quantize.plan.shared_ranges import followers
prepared = prepare(files.load(Path(model)), "model")
nodes = place(prepared.model, {})
derived = followers(prepared.model, nodes)
tensors = [name for name in rounded_tensors(prepared.model, nodes) if name not in derived]
"""

_ALIVE = (
    _OBSERVED
    + """
from edgeopt.graph.outputs import expose
inner = [name for name in tensors if name not in {value.name for value in prepared.model.graph.input}]
run = session(files.serialized(expose(prepared.model, inner)))
run.run(None, next(rows()))
start = clock()
for row in rows():
    values = run.run(inner, row)
finish(start)
"""
)

_MIN_MAX = (
    _OBSERVED
    + """
start = clock()
observe(prepared.model, Batches(), tensors, signature=prepared.signature, channels={}, config=ObserveConfig(histograms=False))
finish(start)
"""
)

_ALL = (
    _OBSERVED
    + """
channels = planning._channel_axes(prepared, nodes, QuantizeConfig())
start = clock()
seen = observe(prepared.model, Batches(), tensors, signature=prepared.signature, channels=channels, config=ObserveConfig())
{ranges}
finish(start)
"""
)

_RANGES = """
for method in METHODS:
    for statistics in seen.tensors.values():
        choose_range(statistics, method, Grid(8))
"""

_ONNXRUNTIME = """
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, create_calibrator
from onnxruntime.quantization.registry import QDQRegistry
from onnxruntime.quantization.shape_inference import quant_pre_process
class Reader(CalibrationDataReader):
    def __init__(self): self.rows = rows()
    def get_next(self): return next(self.rows, None)
quant_pre_process(model, work + ".pre.onnx", skip_symbolic_shape=True)
start = clock()
method = CalibrationMethod.{method}
calibrator = create_calibrator(work + ".pre.onnx", list(QDQRegistry), work + ".augmented.onnx", calibrate_method=method)
calibrator.collect_data(Reader())
calibrator.compute_data()
finish(start)
"""

_NNCF = """
import nncf, onnx
nncf.quantize
loaded = onnx.load(model)
start = clock()
kind = nncf.ModelType.TRANSFORMER if {transformer} else None
nncf.quantize(loaded, nncf.Dataset(list(rows())), subset_size=count, model_type=kind)
finish(start)
"""


def programs(task: str) -> dict[str, tuple[str, int]]:
    """Return the program of each contender by name, each with the largest number of samples it is given.

    onnxruntime's Entropy and Percentile keep every activation of every sample: 8 GB for 128 images, so 64 GB for 1,024.
    NNCF keeps the samples and Olive goes through onnxruntime's calibrators: 128 says enough.
    """
    from benchmarks.quantize.contenders import OLIVE_RACE

    return {
        "inference": (_INFERENCE, 1024),
        "inference, all activations alive": (_ALIVE, 1024),
        "edgeopt, min-max": (_MIN_MAX, 1024),
        "edgeopt, all statistics": (_ALL.format(ranges=""), 1024),
        "edgeopt, all statistics and ranges": (_ALL.format(ranges=_RANGES), 1024),
        "onnxruntime MinMax": (_ONNXRUNTIME.format(method="MinMax"), 1024),
        "onnxruntime Entropy": (_ONNXRUNTIME.format(method="Entropy"), 128),
        "onnxruntime Percentile": (_ONNXRUNTIME.format(method="Percentile"), 128),
        "nncf": (_NNCF.format(transformer=task == "sst2"), 128),
        "olive": (OLIVE_RACE, 128),
    }
