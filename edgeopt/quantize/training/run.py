"""What one training through the quantizer works on: the network, its teacher, and samples."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch
from torch import Tensor

from edgeopt.batches import Batch
from edgeopt.errors import ModelError
from edgeopt.graph.batch_axes import Axes
from edgeopt.graph.matching import by_name
from edgeopt.graph.outputs import open_exposed, run
from edgeopt.graph.signature import Signature
from edgeopt.quantize.compared_outputs import compared_outputs
from edgeopt.quantize.config import TrainingOptions
from edgeopt.quantize.output_parts import Part, PartsNoise, parts_of
from edgeopt.quantize.search.trials import Outcome
from edgeopt.quantize.training import objective
from edgeopt.quantize.training.graph_module import GraphModule
from edgeopt.quantize.training.samples import Split, split, stack, stackable

_SEED = 0
_LOOK_SHARE, _FEWEST_HELD = 0.03, 4
"""Of the time, for one look at the held-aside samples; and how many there are at least, if there are as many."""


@dataclass(frozen=True)
class TrainingRun:
    """What one training needs."""

    module: GraphModule
    floating: ir.Model
    teacher: ort.InferenceSession
    outputs: tuple[str, ...]
    parts: tuple[Part, ...]
    """What is compared by itself: outputs, or their channels of very different size."""
    wanted: tuple[str, ...]
    """The outputs, and inner tensors where these are compared."""
    data: Split
    axes: Axes | None
    options: TrainingOptions
    forward_s: float = 0.0
    """How long one sample takes through the network."""

    def compared(self, names: Collection[str]) -> list[Part]:
        """Return what is compared of some tensors: the parts of outputs, any other as a whole."""
        inner = [Part(name) for name in names if name not in self.outputs]
        return [*inner, *(part for part in self.parts if part.output in names)]


def prepared_run(
    floating: ir.Model, outcome: Outcome, samples: Sequence[Batch], signature: Signature, options: TrainingOptions
) -> TrainingRun:
    """Return what a training of the Q/DQ graph of `outcome` works on.

    Raises:
        ModelError: an operator cannot be trained through, or the model has no floating-point output.
    """
    module = GraphModule(outcome.quantized, floating, outcome.plan)
    outputs = compared_outputs(floating.graph)
    if not outputs:
        raise ModelError(
            "no output of the model is a floating-point tensor, so there is nothing to train towards; export it with its "
            "scores or logits as an output, or leave --train out"
        )
    there = by_name(outcome.quantized.graph)
    inner = [name for name in objective.residual_sums(floating) if name in there] if options.inner_weight else []
    wanted = list(dict.fromkeys([*outputs, *inner]))
    teacher = open_exposed(floating, inner, threads=torch.get_num_threads())
    axes, data = stackable(signature), split(samples, seed=_SEED)
    parts = parts_of(outputs, (run(teacher, outputs, sample, sample=0) for sample in data.held))
    work = TrainingRun(module, floating, teacher, tuple(outputs), tuple(parts), tuple(wanted), data, axes, options)
    return timed(work if _stacks(work) else replace(work, axes=None))


def timed(work: TrainingRun) -> TrainingRun:
    """Measure a forward pass, and hold no more samples aside than can be looked at often in the time there is."""
    sample = tensors(work.data.held[0])
    with torch.no_grad():
        work.module(sample)  # the first pass takes longer
        began = time.monotonic()
        work.module(sample)
    forward_s = time.monotonic() - began
    held = work.data.held
    if work.options.steps is None:
        held = held[: max(int(_LOOK_SHARE * work.options.time / max(forward_s, 1e-9)), _FEWEST_HELD)]
    return replace(work, data=replace(work.data, held=held), forward_s=forward_s)


def _stacks(work: TrainingRun) -> bool:
    """Return whether two samples have the same outputs together as alone: a model may have its batch size in its constants."""
    first = work.data.training[0]
    if work.axes is None:
        return False
    try:
        twice = run(work.teacher, work.outputs, stack([first, first], work.axes), sample=0)
        once = run(work.teacher, work.outputs, first, sample=0)
    except Exception:  # noqa: BLE001  (whatever onnxruntime says: it does not take two)
        return False
    return all(
        twice[name].shape == (2 * value.shape[0], *value.shape[1:])
        and np.allclose(twice[name][: len(value)], value, 1e-3, 1e-4)
        for name, value in once.items()
        if value.ndim
    )


def targets(work: TrainingRun, batch: Batch) -> dict[str, Tensor]:
    """Return what the floating-point model gives on a batch, by name."""
    found = run(work.teacher, work.wanted, batch, sample=0)
    return {name: torch.from_numpy(np.array(value, dtype=np.float32)) for name, value in found.items()}


def tensors(batch: Batch) -> dict[str, Tensor]:
    """Return a batch as tensors that own their memory."""
    return {name: torch.from_numpy(np.array(values)) for name, values in batch.items()}


def held_db(work: TrainingRun) -> float:
    """Return the SQNR of the worst part of the outputs on the held-aside samples."""
    noise = PartsNoise(work.parts)
    with torch.no_grad():
        for sample in work.data.held:
            made, wanted = work.module(tensors(sample)), targets(work, sample)
            noise.add(*({name: values[name].numpy() for name in work.outputs} for values in (wanted, made)))
    return min(noise.db.values())
