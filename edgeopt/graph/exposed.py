"""Runs of a model with inner tensors as outputs, without copying any of them.

onnxruntime's `session.run` allocates and copies every output on every run: with all activations as outputs that costs as much
as the model itself, most of it page faults. Here outputs are read in place, and overwritten where the next batch has the same
shapes. Where shapes change (text) they are freed before the next run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from edgeopt.batches import Array, Batch
from edgeopt.graph.outputs import open_exposed, run_error

Shapes = tuple[tuple[int, ...], ...]


class ExposedModel:
    """A model whose tensors `names` can be read after each batch; without an `arena` no more memory is held than they take."""

    def __init__(self, model: ir.Model, names: Sequence[str], *, threads: int, arena: bool = True) -> None:
        self._names = list(names)
        self._session = open_exposed(model, names, threads=threads, arena=arena) if names else None
        self._shapes: Shapes = ()
        self._outputs: dict[str, ort.OrtValue] = {}

    def __call__(self, batch: Batch, *, sample: int) -> Mapping[str, Array]:
        """Return the tensors' values on `batch`, whose first sample is number `sample`; the next call may overwrite them.

        Raises:
            DataError: the model cannot run on this batch.
        """
        if self._session is None:
            return {}
        arrays = {name: np.ascontiguousarray(array) for name, array in batch.items()}
        shapes = tuple(array.shape for array in arrays.values())
        if not (self._outputs and shapes == self._shapes and self._run_bound(self._session, arrays)):
            self._outputs = {}  # before the run, so that one batch is alive at a time
            self._outputs, self._shapes = self._run_plain(self._session, arrays, sample), shapes
        return {name: value.numpy() for name, value in self._outputs.items()}

    def _run_plain(self, session: ort.InferenceSession, arrays: dict[str, Array], sample: int) -> dict[str, ort.OrtValue]:
        inputs = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()}
        try:
            values = session.run_with_ort_values(self._names, inputs)
        except Exception as error:  # (its exception classes share no base but Exception)
            raise run_error(error, sample) from error
        return dict(zip(self._names, values, strict=True))

    def _run_bound(self, session: ort.InferenceSession, arrays: dict[str, Array]) -> bool:
        """Write over the outputs of the last run; return whether that worked (shapes may depend on the values, too)."""
        binding = session.io_binding()
        for name, array in arrays.items():
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
        for name, value in self._outputs.items():
            binding.bind_ortvalue_output(name, value)
        try:
            session.run_with_iobinding(binding)
        except Exception:  # noqa: BLE001  (the plain run that follows tells what is wrong, if anything is)
            return False
        return True
