"""Run samples through a model, PyTorch or ONNX, in batches of about equal length, and put the outputs back in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgeopt import progress
from edgeopt.data.batches import Array, Batch
from edgeopt.data.samples import Samples
from edgeopt.models import onnx_file
from edgeopt.targets.session import open_session
from edgeopt.targets.target import Provider

_BATCH = 32
Outputs = dict[str, Array]
"""By output name: [samples, …]."""


def torch_outputs(run: Callable[[Batch], Array], samples: Samples, *, name: str) -> Outputs:
    """Return the logits that `run` gives for each sample, under the name ``logits``."""
    return _collect(lambda batch: {"logits": run(batch)}, samples, batch_size=_BATCH, name=name)


def onnx_outputs(path: Path, samples: Samples, *, provider: Provider, name: str) -> Outputs:
    """Return all outputs of the ONNX model at `path` for each sample; one at a time where its batch axis is fixed."""
    inputs = onnx_file.signature(onnx_file.load(path, weights=False)).inputs
    dynamic = all(spec.shape and isinstance(spec.shape[0], str) for spec in inputs)
    session = open_session(path, provider)
    names = [output.name for output in session.get_outputs()]

    def run(batch: Batch) -> Outputs:
        return dict(zip(names, session.run(names, {spec.name: batch[spec.name] for spec in inputs}), strict=True))

    return _collect(run, samples, batch_size=_BATCH if dynamic else 1, name=name)


def _collect(run: Callable[[Batch], Outputs], samples: Samples, *, batch_size: int, name: str) -> Outputs:
    batches = samples.sorted_batches(batch_size)
    order = np.concatenate([np.asarray(indices) for indices in batches.order])
    parts: list[Outputs] = []
    with progress.task(f"evaluate {name}", total=len(samples)) as advance:
        for indices, batch in zip(batches.order, batches, strict=True):
            parts.append(run(batch))
            advance(len(indices))
    collected = {output: np.concatenate([part[output] for part in parts]) for output in parts[0]}
    back = np.argsort(order)
    return {output: values[back] if len(values) == len(order) else values for output, values in collected.items()}
