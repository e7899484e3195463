"""Memory of a pass, measured in a process of its own: constant in the samples, bounded by one batch, kept to a limit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_CHILD = """
import sys, numpy as np, onnx
from edgeopt.graph.files import as_ir
from edgeopt.graph.files import signature
from edgeopt.graph.outputs import expose, open_exposed
from edgeopt.quantize.calibrate.calibrator import ObserveConfig
from edgeopt.quantize.calibrate.observe import observe

LAYERS = 12
lines = [f"t{n + 1} = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (t{n}, w{n})" for n in range(LAYERS)]
text = '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 8, 320, 320] t0) => (float[n, 8, 320, 320] t%d) { %s }'
model = onnx.parser.parse_model(text % (LAYERS, chr(10).join(lines)))
for n in range(LAYERS):
    weight = (np.random.default_rng(n).standard_normal((8, 8, 3, 3)) / 9).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, f"w{n}"))
tensors = [f"t{n}" for n in range(1, LAYERS + 1)]
how, count, limit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) or None

class Batches:
    def __len__(self): return count
    def __iter__(self):
        for n in range(count): yield {"t0": np.random.default_rng(n).standard_normal((1, 8, 320, 320), dtype=np.float32)}

def status(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key))

before = status("VmRSS")
if how == "plain":
    session = open_exposed(expose(as_ir(model), tensors), threads=1)
    for batch in Batches():
        values = session.run(tensors, batch)
else:
    config = ObserveConfig(memory_limit_bytes=limit)
    model = as_ir(model)
    observe(model, Batches(), tensors, signature=signature(model), channels={name: 1 for name in tensors}, config=config)
print("PEAK", status("VmHWM") - before, status("VmHWM"))
"""


def peak_kib(how: str, count: int, limit: int = 0) -> tuple[int, int]:
    """Return by how much the peak lies above the process before, and the peak itself."""
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, how, str(count), str(limit)], capture_output=True, text=True, check=True
    )
    _, more, whole = done.stdout.split()[-3:]
    return int(more), int(whole)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the peak is read from /proc, which is not here")
def test_memory_is_that_of_one_batch_whatever_the_number_of_samples():
    few, many, plain = peak_kib("observe", 3), peak_kib("observe", 15), peak_kib("plain", 3)
    assert many[0] <= few[0] * 1.1, f"{few[0]} KiB for 3 samples, {many[0]} KiB for 15"
    assert many[1] <= 1.5 * plain[1], f"the process takes {many[1]} KiB, plain inference with all activations {plain[1]} KiB"
    limited = peak_kib("observe", 3, 8_000_000)
    activations = 12 * 8 * 320 * 320 * 4 // 1024  # KiB of all observed tensors: 39 MB, of which 8 may be alive at a time
    assert limited[0] <= few[0] - activations // 2, f"{few[0]} KiB without a limit, {limited[0]} KiB with one"
