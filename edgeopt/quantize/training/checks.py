"""Whether PyTorch and onnxruntime compute the same by a Q/DQ graph."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch
from torch import Tensor

from edgeopt.batches import Array
from edgeopt.errors import InternalError, ModelError
from edgeopt.graph.outputs import open_exposed, run
from edgeopt.quantize.sqnr import CEILING_DB, Noise
from edgeopt.quantize.training.run import TrainingRun, tensors

_SAME_DB = 40.0
_SAME_ANSWERS = 0.995
_NEAR_TIE = 4.0
"""Times the root mean square by which logits differ: rounding decides between answers that are nearer to each other."""


def check_same(work: TrainingRun, quantized: ir.Model, *, when: str) -> float:
    """Return the SQNR between the module and onnxruntime on the Q/DQ graph; raise where the two part.

    The outputs must have 40 dB and the same answers on 99.5 % of the held-aside samples. In a deep network a single value that
    is rounded the other way, since float32 sums differ in their last bit, moves all that follow, until the two differ by as
    much as rounding itself does; onnxruntime's own optimized and unoptimized sessions do, too. So where the outputs part, each
    operator is looked at alone, with onnxruntime's values as its inputs, and then answers that are near ties do not count.
    """
    names = [value.name for node in quantized.graph for value in node.outputs if value.name and _compared(value, node)]
    session = open_exposed(quantized, names, threads=torch.get_num_threads(), optimize=False)
    seen = _compared_outputs(work, session)
    together = min(one.noise.db for one in seen.values())
    if together >= _SAME_DB and all(one.agreement(0.0) >= _SAME_ANSWERS for one in seen.values()):
        return together
    sample = tensors(work.data.held[0])
    exact = {
        name: torch.from_numpy(np.array(value)) for name, value in run(session, names, work.data.held[0], sample=0).items()
    }
    with torch.no_grad():
        for name, made in work.module.each(sample, exact):
            if (noise := _noise(exact[name], made)) < _SAME_DB:
                raise _parted(when, f"part at '{name}' ({noise:.1f} dB, shape {list(made.shape)})")
        worst = min(one.agreement(_NEAR_TIE) for one in seen.values())
        if worst < _SAME_ANSWERS:
            whole = work.module(sample, frozenset(names))
            first = next((name for name in names if _noise(exact[name], whole[name]) < _SAME_DB), names[-1])
            raise _parted(
                when, f"give the same answer on {worst:.1%} of the samples held aside only; they part at '{first}' first"
            )
    return together


def _parted(when: str, what: str) -> InternalError | ModelError:
    message = f"{when}, PyTorch and onnxruntime {what}"
    if when.startswith("after"):
        return InternalError(f"{message}; please report it with the model")
    return ModelError(f"{message}; leave --train out")


def _noise(exact: Tensor, made: Tensor) -> float:
    """Return the SQNR of a tensor in dB; none at all where the shapes differ."""
    noise = Noise()
    if made.shape != exact.shape:
        return -CEILING_DB
    noise.add(exact.numpy(), made.numpy())
    return noise.db


@dataclass
class _Output:
    """One output by onnxruntime and by PyTorch: their noise, and how far apart their answers are where these differ."""

    noise: Noise = field(default_factory=Noise)
    margins: list[float] = field(default_factory=list)
    """Of each sample with classes: by how much onnxruntime prefers its own answer to PyTorch's."""
    size: int = 0

    def add(self, exact: Array, made: Array) -> None:
        self.noise.add(exact, made)
        self.size += exact.size
        if exact.ndim == 2 and exact.shape[1] > 1:
            self.margins += (exact.max(1) - np.take_along_axis(exact, made.argmax(1)[:, None], 1)[:, 0]).tolist()

    def agreement(self, tie: float) -> float:
        """Return the share of equal answers; those nearer than `tie` times the outputs' difference count as equal."""
        allowed = tie * (self.noise.noise / max(self.size, 1)) ** 0.5
        return float(np.mean([margin <= allowed for margin in self.margins])) if self.margins else 1.0


def _compared_outputs(work: TrainingRun, session: ort.InferenceSession) -> dict[str, _Output]:
    """Return how far the module's outputs are from those of a session, on held-aside samples."""
    seen = {name: _Output() for name in work.outputs}
    with torch.no_grad():
        for number, sample in enumerate(work.data.held):
            made = work.module(tensors(sample))
            for name, exact in run(session, work.outputs, sample, sample=number).items():
                seen[name].add(exact, made[name].numpy())
    return seen


def _compared(value: ir.Value, node: ir.Node) -> bool:
    """Return whether both keep the tensor in the same form: not the integers of a QuantizeLinear."""
    return node.op_type != "QuantizeLinear" and value.dtype in {ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.INT32}
