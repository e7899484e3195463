"""Whether PyTorch and onnxruntime compute the same by a Q/DQ graph."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch

from edgeopt.errors import InternalError, ModelError
from edgeopt.graph.outputs import open_exposed, run
from edgeopt.quantize.sqnr import Noise
from edgeopt.quantize.training.run import TrainingRun, tensors

_SAME_DB = 40.0


def check_same(work: TrainingRun, quantized: ir.Model, *, when: str) -> float:
    """Return the SQNR between the module and onnxruntime on the Q/DQ graph; raise where an operator computes something else.

    In a deep network a single value that is rounded the other way, since float32 sums differ in their last bit, moves all that
    follow, until the two differ by as much as rounding itself does; onnxruntime's own optimized and unoptimized sessions do,
    too. So where the outputs part, each operator is looked at alone, with onnxruntime's values as its inputs.
    """
    names = [value.name for node in quantized.graph for value in node.outputs if value.name and _compared(value, node)]
    session = open_exposed(quantized, names, threads=torch.get_num_threads(), optimize=False)
    together = min(_outputs_noise(work, session).values(), key=lambda noise: noise.db).db
    if together >= _SAME_DB:
        return together
    sample = work.data.held[0]
    exact = {name: torch.from_numpy(np.array(value)) for name, value in run(session, names, sample, sample=0).items()}
    with torch.no_grad():
        for name, made in work.module.each(tensors(sample), exact):
            noise = Noise()
            if made.shape == exact[name].shape:
                noise.add(exact[name].numpy(), made.numpy())
            if made.shape != exact[name].shape or noise.db < _SAME_DB:
                message = f"{when}, PyTorch and onnxruntime part at '{name}' ({noise.db:.1f} dB, shape {list(made.shape)})"
                if when.startswith("after"):
                    raise InternalError(f"{message}; please report it with the model")
                raise ModelError(f"{message}; leave --train out")
    return together


def _outputs_noise(work: TrainingRun, session: ort.InferenceSession) -> dict[str, Noise]:
    """Return how far the module's outputs are from those of a session, on held-aside samples."""
    noises = {name: Noise() for name in work.outputs}
    with torch.no_grad():
        for number, sample in enumerate(work.data.held[:16]):
            made = work.module(tensors(sample))
            for name, exact in run(session, work.outputs, sample, sample=number).items():
                noises[name].add(exact, made[name].numpy())
    return noises


def _compared(value: ir.Value, node: ir.Node) -> bool:
    """Return whether both keep the tensor in the same form: not the integers of a QuantizeLinear."""
    return node.op_type != "QuantizeLinear" and value.dtype in {ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.INT32}
