"""What a student learns from: the teacher's outputs on the very view that the student sees.

A teacher is a PyTorch module, or an ONNX file in onnxruntime (outputs alone). `edgeopt.train.teacher_cache` keeps what it said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from edgeopt.errors import ModelError
from edgeopt.models.record import recording
from edgeopt.train.objective import TrainBatch

Forward = Callable[[nn.Module, Mapping[str, Tensor]], Mapping[str, Tensor]]
"""Runs a model on inputs and returns its outputs by name."""


@dataclass(frozen=True)
class Said:
    """What a model gave for a batch: its outputs, and what its modules gave that were recorded."""

    outputs: Mapping[str, Tensor]
    recorded: Mapping[str, Tensor] = field(default_factory=dict)


class Teacher(Protocol):
    """Gives a batch's soft labels."""

    def said(self, batch: TrainBatch) -> Said:
        """Return the teacher's outputs for the batch, without a graph."""
        ...


@dataclass(frozen=True)
class TorchTeacher:
    """A frozen PyTorch module in evaluation mode.

    Attributes:
        module: the teacher.
        forward: how it is called.
        modules: names of the modules that are recorded.
    """

    module: nn.Module
    forward: Forward
    modules: Sequence[str] = ()

    def said(self, batch: TrainBatch) -> Said:
        """Return the teacher's outputs for the batch."""
        device = next(iter(batch.inputs.values())).device
        self.module.to(device).eval()
        with torch.no_grad():
            return run(self.module, self.forward, batch.inputs, self.modules)


def run(model: nn.Module, forward: Forward, inputs: Mapping[str, Tensor], modules: Sequence[str]) -> Said:
    """Run `model` and record `modules`."""
    if not modules:
        return Said(forward(model, inputs))
    with recording(model, modules) as seen:
        outputs = forward(model, inputs)
    return Said(outputs, dict(seen))


class OnnxTeacher:
    """An ONNX file in onnxruntime on the CPU; it has outputs, but no modules to record.

    A classifier's file may call its output by any name: `names` says what the student's outputs are called, in order.
    """

    def __init__(self, path: Path, *, names: Sequence[str] = ("logits",), threads: int = 0) -> None:
        from edgeopt.graph.session import SessionConfig, open_session

        self._session = open_session(path, config=SessionConfig(threads=threads or None))
        self._inputs = [item.name for item in self._session.get_inputs()]
        outputs = [item.name for item in self._session.get_outputs()]
        self._names = {own: (own if own in names else name) for own, name in zip(outputs, names, strict=False)}

    def said(self, batch: TrainBatch) -> Said:
        """Return the file's outputs for the batch."""
        missing = [name for name in self._inputs if name not in batch.inputs]
        if missing:
            raise ModelError(
                f"the teacher's file has the input '{missing[0]}', which the samples lack: {', '.join(batch.inputs)}"
            )
        device = next(iter(batch.inputs.values())).device
        given = {name: batch.inputs[name].cpu().numpy() for name in self._inputs}
        results = self._session.run(list(self._names), given)
        return Said(
            {name: torch.from_numpy(value).to(device) for name, value in zip(self._names.values(), results, strict=True)}
        )
