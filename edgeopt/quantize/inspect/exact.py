"""What the floating-point model gives on a few batches: computed once, compared with as many quantized models as are tried."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import onnx_ir as ir

from edgeopt.batches import Array, Batch
from edgeopt.graph.files import signature
from edgeopt.graph.outputs import open_exposed, run
from edgeopt.quantize.compared_outputs import compared_outputs
from edgeopt.quantize.output_parts import Noises, Part, PartsNoise, parts_of
from edgeopt.quantize.result import LayerNoise
from edgeopt.quantize.sqnr import CEILING_DB

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

    @cached_property
    def names(self) -> list[str]:
        """The outputs that are compared."""
        return compared_outputs(self.model.graph)

    @cached_property
    def parts(self) -> list[Part]:
        """What is compared by itself: outputs, or their channels of very different size."""
        return parts_of(self.names, self)

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
        """Return the SQNR of every output of a quantized model, or of each of its parts."""
        return tuple(LayerNoise(part.name, "output", db) for part, db in self._compared(quantized).db.items())

    def shares(self, quantized: ir.Model) -> Noises:
        """Return the noise of each batch and part as a share of the part's signal in all batches, [batches, parts]."""
        return self._compared(quantized).shares

    def _compared(self, quantized: ir.Model) -> PartsNoise:
        noise = PartsNoise(self.parts)
        for exact, got in self.beside(quantized):
            noise.add(exact, got)
        return noise

    def db(self, quantized: ir.Model) -> float:
        """Return the SQNR of the worst part of a quantized model's outputs; 150 dB if there is none."""
        return min((output.sqnr_db for output in self.noise(quantized)), default=CEILING_DB)
