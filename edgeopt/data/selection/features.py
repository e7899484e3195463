"""One feature vector per sample: the input of the model's last product with weights.

    image → … → [1, 1280, 7, 7] → pool → Gemm → logits       the vector: the mean over all axes but the channels

That layer's input separates what the model can distinguish, so samples that are far apart there drive the earlier layers
differently. Axes other than the channels (last for rows of tokens and vectors, second for maps) are averaged, so that ragged
samples have vectors of one length.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgeopt.batches import Array, Batch
from edgeopt.data.samples import Samples
from edgeopt.errors import DataError
from edgeopt.graph.files import load
from edgeopt.graph.matching import name_of, produced_by
from edgeopt.graph.outputs import open_exposed

_PRODUCTS = {"Gemm", "MatMul", "Conv"}


def feature_tensor(model: ir.Model) -> str:
    """Return what enters the last product with weights on the way to the first output; that output, if there is none."""
    waiting, seen = [model.graph.outputs[0]], set[ir.Node]()
    while waiting:
        node = waiting.pop(0).producer()
        if node is None or node in seen:
            continue
        seen.add(node)
        read = node.inputs[0] if node.op_type in _PRODUCTS and _is_held(node.inputs[1]) else None
        if read is not None and not read.is_graph_input():
            return name_of(read)
        waiting.extend(value for value in node.inputs if value is not None and not _is_held(value))
    return name_of(model.graph.outputs[0])


def _is_held(value: ir.Value | None) -> bool:
    return value is not None and (value.is_initializer() or produced_by(value, "Constant") is not None)


class FeatureModel:
    """A model that computes feature vectors; opened once."""

    def __init__(self, path: Path) -> None:
        model = load(path)
        self._tensor = feature_tensor(model)
        self._session = open_exposed(model, [self._tensor], threads=1)

    def __call__(self, samples: Samples, indices: Iterable[int]) -> NDArray[np.float32]:
        """Return the vectors of the samples at `indices`, [indices, width]; one sample at a time, so none is padded.

        Raises:
            DataError: the model cannot run on a sample, or the features are not finite floating-point numbers.
        """
        return np.stack([self._vector(samples, index) for index in indices])

    def _vector(self, samples: Samples, index: int) -> NDArray[np.float32]:
        vector = pooled(self._run(samples.collate([index]), index))
        if not np.isfinite(vector).all():
            raise DataError(f"sample {index}: the model's features are not finite; repair the sample, or pick at random")
        return vector

    def _run(self, batch: Batch, index: int) -> Array:
        try:
            (values,) = self._session.run([self._tensor], dict(batch))
        except Exception as error:  # (its exception classes share no base but Exception)
            reason = " ".join(str(error).split())[:300]
            raise DataError(f"sample {index}: the model cannot run on it: {reason}") from error
        return np.asarray(values)


def pooled(values: Array) -> NDArray[np.float32]:
    """Return the mean of one sample's tensor over all axes but the channels: the second of maps, else the last."""
    if not np.issubdtype(values.dtype, np.floating):
        raise DataError(f"the model's features are {values.dtype.name}, not floating point; pick at random instead")
    channel = 1 if values.ndim >= 4 else values.ndim - 1
    others = tuple(axis for axis in range(values.ndim) if axis != channel)
    return np.atleast_1d(values.mean(axis=others)).astype(np.float32)
