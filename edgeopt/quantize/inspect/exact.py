"""What the floating-point model gives on a few batches: computed once, compared with as many quantized models as are tried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from edgeopt.batches import Array, Batch
from edgeopt.graph.files import signature
from edgeopt.graph.matching import is_float, name_of
from edgeopt.graph.outputs import open_exposed, run
from edgeopt.quantize.result import LayerNoise
from edgeopt.quantize.sqnr import CEILING_DB, Noise

_MOST_BYTES = 256 * 10**6  # of outputs that are kept; larger ones are computed again each time

Outputs = Mapping[str, Array]


@dataclass
class ExactOutputs:
    """The floating-point outputs of a model on a few batches."""

    model: ir.Model
    batches: Sequence[Batch]
    threads: int = 1
    _kept: dict[int, Outputs] = field(default_factory=dict)
    _kept_bytes: int = 0

    @property
    def names(self) -> list[str]:
        """The outputs that are compared."""
        return [
            name_of(value) for value in self.model.graph.outputs if isinstance(value.type, ir.TensorType) and is_float(value)
        ]

    def __iter__(self) -> Iterator[Outputs]:
        """Yield the outputs of each batch, in order."""
        session = None
        for number, batch in enumerate(self.batches):
            if number not in self._kept:
                session = session or open_exposed(self.model, threads=self.threads)
                found = run(session, self.names, batch, sample=number)
                size = sum(array.nbytes for array in found.values())
                if self._kept_bytes + size > _MOST_BYTES:
                    yield found
                    continue
                self._kept[number] = found
                self._kept_bytes += size
            yield self._kept[number]

    def beside(self, quantized: ir.Model) -> Iterator[tuple[Outputs, Outputs]]:
        """Yield the outputs of each batch, exact and of a quantized model, run as onnxruntime optimises it.

        Inputs are given in the types that `quantized` wants.
        """
        session = open_exposed(quantized, threads=self.threads)
        types = {spec.name: spec.dtype for spec in signature(quantized).inputs}
        for number, exact in enumerate(self):
            given = {name: values.astype(types[name], copy=False) for name, values in self.batches[number].items()}
            yield exact, run(session, self.names, given, sample=number)

    def noise(self, quantized: ir.Model) -> tuple[LayerNoise, ...]:
        """Return the SQNR of every output of a quantized model."""
        noise = {name: Noise() for name in self.names}
        for exact, got in self.beside(quantized):
            for name, values in exact.items():
                noise[name].add(values, got[name])
        return tuple(LayerNoise(name, "output", found.db) for name, found in noise.items())

    def db(self, quantized: ir.Model) -> float:
        """Return the SQNR of the worst output of a quantized model; 150 dB if there is none."""
        return min((output.sqnr_db for output in self.noise(quantized)), default=CEILING_DB)
