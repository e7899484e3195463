"""The stage `forecast` of a search: what every part of the model that is pruned costs, and what its absence does, untrained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeopt.errors import ModelError, RecipeError
from edgeopt.lifetime import temporary_folder
from edgeopt.prune.allocation.forecast import Forecast, PartForecast, Version
from edgeopt.stages.job import Job

if TYPE_CHECKING:
    from edgeopt.data.samples import Samples
    from edgeopt.models.load import LoadedModel
    from edgeopt.prune.config import PruneOptions
    from edgeopt.prune.structure.parts import Part

_LEVELS = 8
"""Versions of each part at most, besides the whole one."""


def run_forecast(job: Job) -> Forecast:
    """Return times from a latency table, errors from OBS, and those of int8 from the sensitivity of each layer."""
    from edgeopt.prune.stage import is_transformer
    from edgeopt.prune.structure.anatomy import anatomy_of
    from edgeopt.prune.structure.parts import Kind
    from edgeopt.stages.torch_model import load

    options = job.recipe.prune
    if options is None:
        raise RecipeError("the recipe has no [prune]")
    model = load(job, "distill" if job.recipe.distill else "teacher")
    if not is_transformer(model.module) and not options.rules:
        return Forecast(reason="the model that is pruned is no transformer; candidates are measured instead")
    if job.recipe.quantize.scheme != "static":
        return Forecast(reason=f"time and size with scheme = '{job.recipe.quantize.scheme}' are not predicted but measured")
    if job.target.device.emulated:
        return Forecast(reason=f"target '{job.target.name}' is an emulator, whose times mean nothing")
    if options.drop_layers or options.hidden is not None or options.rounds > 1:
        return Forecast(reason="the recipe removes whole layers or hidden channels first, or prunes in rounds")
    anatomy = anatomy_of(model.module, rules=options.rules, ignore=options.ignore)
    parts = [part for part in anatomy.parts if (options.heads if part.kind is Kind.HEADS else options.neurons)]
    try:
        return _forecast(job, model, parts, options)
    except ModelError as error:
        return Forecast(reason=str(error))


def _forecast(job: Job, model: LoadedModel, parts: Sequence[Part], options: PruneOptions) -> Forecast:
    from edgeopt.data.select import limited
    from edgeopt.prune.allocation.costs import parameter_costs
    from edgeopt.prune.choice import grid_of
    from edgeopt.prune.latency.bench import bench
    from edgeopt.prune.latency.table import Measurer
    from edgeopt.prune.output_errors import output_errors
    from edgeopt.prune.stage import STEP
    from edgeopt.stages.pruned_files import Timing

    train = job.data.split("train")
    timing = Timing(job.target, sequence=options.sequence, samples=train)
    step = options.round_to or job.target.pruning.step or STEP
    grid = {name: _thinned(counts) for name, counts in grid_of(model.module, parts, step).items()}
    with temporary_folder("edgeopt-forecast-") as folder, bench(job.target) as made:
        path, inputs = timing.export(model.module, model.task, Path(folder))
        whole_bytes, int8_errors = _quantized(job, path)
        converts = {"fp32": None, "int8": timing.convert}
        tables = {
            precision: Measurer(path, parts, inputs, made, convert).latency_model(grid, seed=job.recipe.seed)
            for precision, convert in converts.items()
        }
    errors = output_errors(model.module, parts, limited(train, options.calibration_samples, seed=job.recipe.seed), grid=grid)
    each = parameter_costs(model.module, parts)
    found = {}
    for part in parts:
        versions = tuple(
            Version(units, error, {name: table.part_ms(part, units) for name, table in tables.items()})
            for units, error in sorted(errors[part.name].items())
        )
        nodes = _nodes_of(part, int8_errors)
        found[part.name] = PartForecast(versions, each.of(part, 1), sum(int8_errors[node] for node in nodes), tuple(nodes))
    return Forecast(
        found,
        {name: table.base_ms for name, table in tables.items()},
        {name: table.whole_ms or 0.0 for name, table in tables.items()},
        whole_bytes,
        {name: float(np.mean(np.abs(table.errors))) for name, table in tables.items()},
    )


def _quantized(job: Job, path: Path) -> tuple[float, dict[str, float]]:
    """Return the size of the whole model's int8 file, and the error of each of its integer layers alone by node."""
    from edgeopt.data.fit import fit_to
    from edgeopt.graph.files import size_bytes
    from edgeopt.quantize import quantize

    samples: Samples = job.data.split("calibration")
    result = quantize(
        path,
        fit_to(samples, path).batches(1),
        target=job.target,
        output=path.with_name("whole-int8.onnx"),
        config=job.recipe.quantize.model_copy(update={"sensitivity": True, "train": None, "max_drop": None}),
    )
    errors = {layer.name: 10 ** (-layer.sqnr_db / 10) for layer in result.facts.sensitivity}
    return float(size_bytes(result.path)), errors


def _nodes_of(part: Part, nodes: Mapping[str, float]) -> list[str]:
    """Return the nodes that the exporter named after the part's layers."""
    layers = tuple(f"{layer}/" for layer in part.layers())
    return [node for node in nodes if node.startswith(layers)]


def _thinned(counts: Sequence[int]) -> list[int]:
    """Return at most `_LEVELS` of the counts, evenly spaced, the first one among them."""
    places = np.linspace(0, len(counts) - 1, min(_LEVELS, len(counts))).round()
    return [counts[int(place)] for place in dict.fromkeys(places.tolist())]
