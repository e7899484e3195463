"""What pruning needs of the exported file: latency of parts on the target, and proof that the file became smaller."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeopt.batches import Batch
from edgeopt.data.random_inputs import random_batches
from edgeopt.errors import EdgeoptError, ModelError
from edgeopt.graph import files
from edgeopt.graph.macs import count_macs
from edgeopt.lifetime import temporary_folder
from edgeopt.prune.allocation.costs import Costs
from edgeopt.prune.latency.bench import Bench, bench
from edgeopt.prune.latency.table import LatencyModel, Measurer
from edgeopt.prune.structure.parts import Kind

if TYPE_CHECKING:
    from torch import nn

    from edgeopt.data.samples import Samples
    from edgeopt.models.load import LoadedModel
    from edgeopt.models.model_size import ModelSize
    from edgeopt.prune.structure.parts import Part
    from edgeopt.targets.target import Target


_CHUNK = 1 << 20
_MORE, _TABLES = 1.05, 4096
"""A file may have this much more than its module."""


@dataclass(frozen=True)
class ExportedFigures:
    """What an exported file has: parameters, multiply-accumulates for the timed input, bytes, and ms on the target."""

    parameters: int
    macs: int
    size_bytes: int
    latency_ms: float | None = None
    compressed_bytes: int | None = None


@dataclass(frozen=True)
class Timing:
    """Where and on what latency is measured.

    Attributes:
        target: the target.
        precision: of the file that is timed, "fp32" or "int8".
        sequence: tokens of a text.
        samples: real samples, for modules that no family knows.
    """

    target: Target
    precision: str = "fp32"
    sequence: int = 64
    samples: Samples | None = None

    def export(self, module: nn.Module, task: str | None, folder: Path) -> tuple[Path, Batch]:
        """Export `module` into `folder`; return the file and the input that is timed."""
        from edgeopt.export import ExportConfig, export

        batches = None if self.samples is None or hasattr(module, "config") else list(self.samples.first(4).batches(1))
        result = export(module, batches, target=self.target, output=folder, config=ExportConfig(task=task))
        if batches is not None and self.samples is not None:
            return result.path, self.samples.collate([0])
        return result.path, self.inputs(result.path)

    def inputs(self, path: Path) -> Batch:
        """Return an input of one sample: a text of `sequence` tokens without any before it."""
        return random_batches(path, count=1, dynamic_size=self.sequence, sizes={"batch": 1, "past_sequence": 0})[0]

    def planned_input(self, path: Path, timed: Batch) -> Batch:
        """Return an input as long as the sample that a plan is counted on; for other models the `timed` one."""
        sample = self.samples.collate([0]) if self.samples is not None else {}
        tokens = sample.get("input_ids")
        if tokens is None or tokens.ndim != 2:
            return timed
        return random_batches(path, count=1, dynamic_size=tokens.shape[1], sizes={"batch": 1, "past_sequence": 0})[0]

    def convert(self, path: Path, batches: Sequence[Batch]) -> Path:
        """Return the int8 form of the file at `path`, or the file itself where nothing of it is quantized."""
        from edgeopt.quantize import quantize

        output = path.with_name("int8.onnx")
        try:
            return quantize(path, list(batches), target=self.target, output=output).path
        except EdgeoptError:
            return path

    def time_ms(self, made: Bench, path: Path, inputs: Batch) -> float:
        """Return the latency of the file at `path`."""
        return made.time_ms(self.convert(path, [inputs]) if self.precision == "int8" else path, inputs)


def latency_costs(timing: Timing, *, task: str | None, seed: int = 0) -> Callable[..., Costs]:
    """Return a function that gives the latency of a model's parts on the target."""

    def costs(module: nn.Module, parts: Sequence[Part], grid: Mapping[str, Sequence[int]]) -> Costs:
        if any(part.kind is Kind.CHANNELS for part in parts):
            return channel_costs(timing, module, parts, grid, task=task)
        return latency_model(timing, module, parts, grid, task=task, seed=seed).costs()

    return costs


def channel_costs(
    timing: Timing, module: nn.Module, parts: Sequence[Part], grid: Mapping[str, Sequence[int]], *, task: str | None
) -> Costs:
    """Return the latency of the layers that parts narrow, on the target; all layers together take what the whole file takes."""
    from edgeopt.prune.allocation.layer_costs import Prices, layer_costs
    from edgeopt.prune.latency.layers import LayerTimes

    whole = latency_of(timing, task=task)(module)
    sample = timing.samples.collate([0]) if timing.samples is not None else {}
    convert = timing.convert if timing.precision == "int8" else None
    times = LayerTimes(module, sample, lambda: bench(timing.target), convert)
    scale = whole / times.whole()

    def cost(name: str, inputs: int, outputs: int) -> float:
        return scale * times(name, inputs, outputs)

    return layer_costs(module, parts, Prices("ms", cost, whole, times.measure), grid=grid)


def latency_of(timing: Timing, *, task: str | None) -> Callable[[nn.Module], float]:
    """Return a function that exports a model and gives its latency in ms on the target."""

    def latency(module: nn.Module) -> float:
        with temporary_folder("edgeopt-exported-") as folder, bench(timing.target) as made:
            path, inputs = timing.export(module, task, Path(folder))
            return timing.time_ms(made, path, inputs)

    return latency


def latency_model(
    timing: Timing,
    module: nn.Module,
    parts: Sequence[Part],
    grid: Mapping[str, Sequence[int]],
    *,
    task: str | None,
    seed: int = 0,
) -> LatencyModel:
    """Return the latency model of a module's parts."""
    with measuring(timing, module, parts, task=task) as measurer:
        return measurer.latency_model(grid, seed=seed)


@contextmanager
def measuring(timing: Timing, module: nn.Module, parts: Sequence[Part], *, task: str | None) -> Iterator[Measurer]:
    """Export `module` once and yield what measures its blocks and whole models sliced out of it."""
    with temporary_folder("edgeopt-dense-") as folder, bench(timing.target) as made:
        path, inputs = timing.export(module, task, Path(folder))
        yield Measurer(path, parts, inputs, made, timing.convert if timing.precision == "int8" else None)


def exported_figures(timing: Timing, loaded: LoadedModel, *, latency: bool, compressed: bool = False) -> ExportedFigures:
    """Export a model and return what the file has; how small it is `compressed` on request."""
    with temporary_folder("edgeopt-exported-") as folder:
        path, inputs = timing.export(loaded.module, loaded.task, Path(folder))
        found = figures_of(path, timing.planned_input(path, inputs))
        if compressed:
            found = replace(found, compressed_bytes=compressed_bytes(path))
        if not latency:
            return found
        with bench(timing.target) as made:
            return replace(found, latency_ms=timing.time_ms(made, path, inputs))


def compressed_bytes(path: Path) -> int:
    """Return the bytes of the ONNX file at `path`, and of its data file, as zlib compresses them for a download."""
    total = 0
    for file in sorted(path.parent.glob(f"{path.name}*")):
        packer = zlib.compressobj()
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                total += len(packer.compress(chunk))
        total += len(packer.flush())
    return total


def figures_of(path: Path, inputs: Batch) -> ExportedFigures:
    """Return parameters, multiply-accumulates and bytes of the ONNX file at `path`."""
    model = files.load(path)
    constants: list[Any] = [value.const_value for value in model.graph.initializers.values() if value.const_value is not None]
    parameters = sum(int(tensor.size) for tensor in constants if tensor.dtype.is_floating_point())
    return ExportedFigures(parameters, sum(count_macs(model, inputs).values()), files.size_bytes(path))


def check_fell(
    before: ExportedFigures, after: ExportedFigures, *, planned: float | None, asked: str, module: ModelSize | None = None
) -> None:
    """Compare the exported files of the whole and the pruned model.

    Args:
        before: of the whole model.
        after: of the pruned one.
        planned: share of the parameters or multiply-accumulates that the plan keeps; None: neither was planned.
        asked: the budget, for messages.
        module: what the pruned model has, for the same input. A file that has no more is as planned, whatever its share: an
            export drops work of its own, such as the last layer's tokens that a classifier does not read, of both models.

    Raises:
        ModelError: the file did not become smaller, or not by what was planned.
    """
    for name in ("parameters", "macs", "size_bytes"):
        was, left = getattr(before, name), getattr(after, name)
        if left > was or (left == was and name != "macs"):
            raise ModelError(
                f"the exported file's {name.replace('_', ' ')} did not fall: {left:,} of {was:,} ({asked}); what was removed "
                "does not reach the file"
            )
    name = "parameters" if asked.startswith("parameters") else "macs"
    share = getattr(after, name) / max(1, getattr(before, name))
    most = 0 if module is None else getattr(module, name)
    if planned is not None and share > planned + 0.05 and getattr(after, name) > most:
        raise ModelError(f"the exported file keeps {share:.3f} of the {name}, {planned:.3f} were planned ({asked})")


def check_compressed(before: ExportedFigures, after: ExportedFigures) -> None:
    """Compare the compressed files of the whole and the sparse model.

    Raises:
        ModelError: zeros did not make it smaller.
    """
    if (after.compressed_bytes or 0) >= (before.compressed_bytes or 0):
        raise ModelError(
            f"the exported file, compressed, did not become smaller: {after.compressed_bytes:,} bytes of "
            f"{before.compressed_bytes:,}; the zeros do not reach the file"
        )


def check_as_pruned(path: Path, module: nn.Module, sample: Batch) -> None:
    """Compare the ONNX file at `path` with the pruned `module` that it was made from, on the same sample.

    Tables that an export computes beforehand (positions, masks) and norms that it folds leave a few percent of difference.

    Raises:
        ModelError: the file has more parameters or multiply-accumulates than the module: what was removed is still in it.
    """
    from edgeopt.models.size import macs

    found = figures_of(path, sample)
    own = sum(value.numel() for _, value in module.named_parameters(remove_duplicate=False))
    for what, in_file, in_module in (("parameters", found.parameters, own), ("macs", found.macs, macs(module, sample))):
        if in_file > _MORE * in_module + _TABLES:
            raise ModelError(
                f"the exported file has {in_file:,} {what}, the pruned model {in_module:,}: what was removed does not reach it"
            )
