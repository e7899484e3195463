"""The outputs of a PyTorch or an ONNX model on samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgeopt.batches import Array, Batch
from edgeopt.data.fit import fit
from edgeopt.data.outputs import Outputs, collect
from edgeopt.data.samples import Samples
from edgeopt.graph import files
from edgeopt.graph.provider import Provider
from edgeopt.graph.session import open_session

_BATCH = 32


def torch_outputs(run: Callable[[Batch], Array], samples: Samples, *, name: str) -> Outputs:
    """Return the logits that `run` gives for each sample, under the name ``logits``."""
    return collect(lambda batch: {"logits": run(batch)}, samples, batch_size=_BATCH, name=name)


def onnx_outputs(path: Path, samples: Samples, *, provider: Provider, name: str) -> Outputs:
    """Return all outputs of the ONNX model at `path` for each sample, in batches that its batch axis accepts."""
    signature = files.signature(files.load(path))
    samples, inputs = fit(samples, signature), signature.inputs
    layout = samples.layout
    free = layout is None or (layout.size is None and all(axis == 0 for axis in layout.axes.values()))
    session = open_session(path, provider)
    names = [output.name for output in session.get_outputs()]

    def run(batch: Batch) -> Outputs:
        return dict(zip(names, session.run(names, {spec.name: batch[spec.name] for spec in inputs}), strict=True))

    return collect(run, samples, batch_size=_BATCH if free else 1, name=name)
