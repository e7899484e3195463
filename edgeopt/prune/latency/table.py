"""A latency model of a transformer on a target: times of blocks, corrected by times of whole models.

    t(model) = a + b · Σ_parts t(part, units left)

The blocks are sliced out of the exported file at every width that may be chosen; single times do not add up (caches, threads,
memory), so a and b are fitted to about ten whole models with random widths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgeopt import progress
from edgeopt.batches import Batch
from edgeopt.graph import files
from edgeopt.graph.exposed import ExposedModel
from edgeopt.prune.allocation.costs import Costs
from edgeopt.prune.latency.bench import Bench
from edgeopt.prune.latency.blocks import Block, alone, boundary_of, find_blocks, signature, whole
from edgeopt.prune.structure.parts import Part

_WHOLE_MODELS = 10

Convert = Callable[[Path, Sequence[Batch]], Path]
"""Returns the file whose time counts, given an fp32 file and its inputs: quantizes it where int8 is meant."""


@dataclass
class LatencyModel:
    """Predicted latency in ms.

    Attributes:
        times: of every part by units left.
        base_ms: a.
        factor: b.
        errors: relative errors of the fit on the whole models it was made with.
        whole_ms: measured time of the model with all units; None: not measured.
    """

    times: Mapping[str, Mapping[int, float]]
    base_ms: float = 0.0
    factor: float = 1.0
    errors: list[float] = field(default_factory=list)
    whole_ms: float | None = None

    def part_ms(self, part: Part, units: int) -> float:
        """Return the time of a part with this many units, interpolated between those that were measured."""
        known = self.times[part.name]
        return self.factor * float(np.interp(units, sorted(known), [known[count] for count in sorted(known)]))

    def costs(self) -> Costs:
        """Return it as costs of an allocation."""
        return Costs("ms", self.base_ms, self.part_ms, self.whole_ms)

    def predict(self, counts: Mapping[str, int], parts: Sequence[Part]) -> float:
        """Return the time of a model whose parts have this many units."""
        return self.base_ms + sum(self.part_ms(part, counts[part.name]) for part in parts)


class Measurer:
    """Measures blocks and whole models of one exported file."""

    def __init__(self, path: Path, parts: Sequence[Part], inputs: Batch, bench: Bench, convert: Convert | None = None) -> None:
        self.model = files.load(path)
        self.parts, self.inputs, self.bench, self.convert = parts, inputs, bench, convert
        self.blocks: dict[str, list[Block]] = {part.name: find_blocks(self.model, part) for part in parts}
        names = boundary_of([block for found in self.blocks.values() for block in found], self.model)
        exposed = ExposedModel(self.model, names, threads=1)
        self.values = {**inputs, **{name: array.copy() for name, array in exposed(inputs, sample=0).items()}}

    def latency_model(self, grid: Mapping[str, Sequence[int]], *, seed: int = 0) -> LatencyModel:
        """Return the latency model of parts with as many units as `grid` says."""
        times: dict[str, dict[int, float]] = {}
        groups = self._alike()
        with progress.task("latency table", total=sum(len(grid[group[0].name]) + 1 for group in groups)) as advance:
            for group in groups:
                blocks = [block for part in group for block in self.blocks[part.name]]
                found = {0: 0.0}
                for units in {*grid[group[0].name], group[0].units} - {0}:
                    found[units] = self.blocks_ms(blocks, units) / len(group)
                    advance()
                times |= {part.name: found for part in group}
        model = LatencyModel(times)
        self._fit(model, grid, seed)
        return model

    def _alike(self) -> list[list[Part]]:
        """Return the parts in groups that consist of the same operators with the same shapes."""
        groups: dict[str, list[Part]] = {}
        for part in self.parts:
            key = "\n".join(signature(*alone(self.model, [block], part.units, self.values)) for block in self.blocks[part.name])
            groups.setdefault(key, []).append(part)
        return list(groups.values())

    def blocks_ms(self, blocks: Sequence[Block], units: int) -> float:
        """Return the time of all `blocks` together, each with this many units."""
        sliced, inputs = alone(self.model, blocks, units, self.values)
        key = f"{'converted' if self.convert else 'fp32'}\n{signature(sliced, inputs)}"
        return self._time(sliced, inputs, "block", key)

    def whole_ms(self, counts: Mapping[str, int]) -> float:
        """Return the time of the whole model with this many units."""
        choices = [(block, counts[part.name]) for part in self.parts for block in self.blocks[part.name]]
        chosen = [(block, units) for block, units in choices if units != block.part.units]
        sliced, inputs = whole(self.model, chosen, self.values)
        return self._time(sliced, inputs, "whole", f"{'converted' if self.convert else 'fp32'}\n{signature(sliced, inputs)}")

    def _time(self, model: ir.Model, inputs: Batch, name: str, key: str) -> float:
        known = self.bench.known_ms(key)
        if known is not None:  # nothing is converted for it, either
            return known
        path = self.bench.file(name)
        files.save(model, path)
        try:
            return self.bench.time_ms(self.convert(path, [inputs]) if self.convert else path, inputs, key=key)
        finally:
            for file in path.parent.iterdir():
                file.unlink()

    def _fit(self, model: LatencyModel, grid: Mapping[str, Sequence[int]], seed: int) -> None:
        """Fit a and b to whole models."""
        drawn = random_counts(self.parts, grid, count=_WHOLE_MODELS - 1, seed=seed)
        all_units = {part.name: part.units for part in self.parts}
        sums, measured = [], []
        with progress.task("whole models", total=_WHOLE_MODELS) as advance:
            for counts in [all_units, *drawn]:
                sums.append(model.predict(counts, self.parts))
                measured.append(self.whole_ms(counts))
                advance()
        x, y = np.array(sums), np.array(measured)
        factor, base = np.polyfit(x, y, 1, w=1 / y)
        if base < 0 or factor <= 0:  # a model of nothing takes no time: through the origin
            factor, base = float((x / y).sum() / ((x / y) ** 2).sum()), 0.0
        model.factor, model.base_ms, model.whole_ms = float(factor), float(base), measured[0]
        predicted = model.base_ms + model.factor * np.array(sums)
        model.errors = [float(error) for error in predicted / np.array(measured) - 1]


def random_counts(parts: Sequence[Part], grid: Mapping[str, Sequence[int]], *, count: int, seed: int) -> list[dict[str, int]]:
    """Return random numbers of units, at least one, of every part, from little to nearly everything pruned."""
    rng = np.random.default_rng(seed)
    drawn = []
    for place in range(count):
        share = (place + 1) / (count + 1)
        counts = {}
        for part in parts:
            options = [units for units in (*grid[part.name], part.units) if units]
            middle = share * part.units
            near = sorted(options, key=lambda units: abs(units - middle))[: max(2, len(options) // 2)]
            counts[part.name] = int(rng.choice(near))
        drawn.append(counts)
    return drawn
