"""Run samples through a model, PyTorch or ONNX, in batches of about equal length, and put the outputs back in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeopt import progress
from edgeopt.data.batches import Array, Batch
from edgeopt.data.fit import fit
from edgeopt.data.samples import Layout, SampleBatches, Samples
from edgeopt.graph import onnx_file
from edgeopt.targets.session import open_session
from edgeopt.targets.target import Provider

_BATCH = 32
Outputs = dict[str, Array]
"""By output name: [samples, …]; where later axes differ between samples, [positions of all samples, classes]."""


def torch_outputs(run: Callable[[Batch], Array], samples: Samples, *, name: str) -> Outputs:
    """Return the logits that `run` gives for each sample, under the name ``logits``."""
    return _collect(lambda batch: {"logits": run(batch)}, samples, batch_size=_BATCH, name=name)


def onnx_outputs(path: Path, samples: Samples, *, provider: Provider, name: str) -> Outputs:
    """Return all outputs of the ONNX model at `path` for each sample, in batches that its batch axis accepts."""
    signature = onnx_file.signature(onnx_file.load(path, weights=False))
    samples, inputs = fit(samples, signature), signature.inputs
    layout = samples.layout
    free = layout is None or (layout.size is None and all(axis == 0 for axis in layout.axes.values()))
    session = open_session(path, provider)
    names = [output.name for output in session.get_outputs()]

    def run(batch: Batch) -> Outputs:
        return dict(zip(names, session.run(names, {spec.name: batch[spec.name] for spec in inputs}), strict=True))

    return _collect(run, samples, batch_size=_BATCH if free else 1, name=name)


def _collect(run: Callable[[Batch], Outputs], samples: Samples, *, batch_size: int, name: str) -> Outputs:
    batches = samples.sorted_batches(batch_size)
    if batch_size > 1 and _follows_length(run, samples, batches.order):
        batches = samples.equal_batches(batch_size)  # else padding would be part of the outputs
    parts = _run(run, batches, name=name)
    order = np.concatenate([np.asarray(indices) for indices in batches.order])
    ragged = _ragged(parts)
    return {
        output: _positions([part[output] for part in parts], batches.order)
        if output in ragged
        else _in_order(np.concatenate([part[output] for part in parts]), order)
        for output in parts[0]
    }


def _follows_length(run: Callable[[Batch], Outputs], samples: Samples, order: Sequence[Sequence[int]]) -> bool:
    """Return whether the longest and the shortest sample, each run alone, give an output of different shapes."""
    ends = [samples.collate([index]) for index in (order[0][0], order[-1][-1])]
    if all(ends[0][name].shape == ends[1][name].shape for name in ends[0]):
        return False
    return bool(_ragged([run(batch) for batch in ends]))


def _run(run: Callable[[Batch], Outputs], batches: SampleBatches, *, name: str) -> list[Outputs]:
    parts: list[Outputs] = []
    with progress.task(f"evaluate {name}", total=len(batches.samples)) as advance:
        for indices, batch in zip(batches.order, batches, strict=True):
            parts.append(_own(run(batch), len(indices), batches.samples.layout))
            advance(len(indices))
    return parts


def _own(outputs: Outputs, count: int, layout: Layout | None) -> Outputs:
    """Return the outputs of the batch's first `count` samples: the last batch may have been filled to a fixed size."""
    if layout is None or layout.size is None or layout.size <= count:
        return outputs
    return {name: values[:count] if len(values) == layout.size else values for name, values in outputs.items()}


def _ragged(parts: Sequence[Outputs]) -> set[str]:
    """Return the outputs whose axes after the first differ from batch to batch."""
    return {name for name in parts[0] if len({part[name].shape[1:] for part in parts}) > 1}


def _in_order(values: Array, order: NDArray[np.int64]) -> Array:
    return values[np.argsort(order)] if len(values) == len(order) else values


def _positions(parts: Sequence[Array], order: Sequence[Sequence[int]]) -> Array:
    """Concatenate all positions of a ragged output, sample by sample.

    Args:
        parts: one array per batch, [samples, …, classes], of differing middle axes, such as a token classifier's logits.
        order: the samples of each batch.

    Returns:
        [positions of all samples, classes]; one flat axis where the last axis differs, too.
    """
    width = parts[0].shape[-1] if parts[0].ndim > 2 and len({part.shape[-1] for part in parts}) == 1 else None
    rows: dict[int, Array] = {}
    for indices, part in zip(order, parts, strict=True):
        whole = len(part) == len(indices)  # else the first axis counts no samples: the batch stays one piece
        for index, values in zip(indices, part if whole else [part], strict=False):
            rows[index] = values.reshape(-1, width) if width else values.reshape(-1)
    return np.concatenate([rows[index] for index in sorted(rows)])
