"""Plan of an export, made before anything is traced; a plan is a value that can be printed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import ml_dtypes
import numpy as np
import torch

from edgeopt.batches import Array, Batch, Batches
from edgeopt.errors import DataError, RecipeError, nearest
from edgeopt.export.axes import Axes, find_axes, fitted, summed
from edgeopt.export.config import ExportConfig
from edgeopt.export.family import Task, random_samples, unwrapped
from edgeopt.export.parity import parity_batches
from edgeopt.export.precision import TOLERANCES, cast, float_type
from edgeopt.export.registry import family_of, load_family
from edgeopt.export.rotary import beyond
from edgeopt.targets.target import Target

_FIRST_OPSET_WITH_ATTENTION = 23


@dataclass(frozen=True)
class Plan:
    """Decisions made before anything is traced.

    Attributes:
        module: the model, with the family's wrapping around it.
        outputs: the outputs to keep; empty: all.
        dtype: the floating type of the weights; "" without weights.
        example: the batch to trace with.
        checks: the batches to compare with PyTorch on.
    """

    module: torch.nn.Module
    family: str
    task: str
    outputs: tuple[str, ...]
    opset: int
    attention: Literal["fused", "decomposed"]
    projections: Literal["merged", "apart"]
    axes: Axes
    dtype: str
    tolerance: float
    example: Batch
    checks: list[Batch]
    warnings: tuple[str, ...]
    decoder: Literal["portable", "decoder-cpu"] = "portable"
    context: int | None = None


def decide(model: torch.nn.Module, samples: Batches | None, *, target: Target, config: ExportConfig) -> Plan:
    """Return the plan for exporting `model`, called with `samples` (None: random ones of its family), for `target`.

    Raises:
        ModelError: no family knows the model's type, or it has no head for the task.
        DataError: the samples are empty or disagree with each other.
        RecipeError: the configuration contradicts itself or names unknown inputs.
    """
    family, name, task = _task_of(model, config)
    _check_dynamic(model, task, config)
    chosen, remarks = _choose(samples, task, model, config)
    dtype = config.dtype or float_type(model)
    if dtype is not None and (config.dtype is not None or task is not None):
        chosen = [cast(batch, dtype) for batch in chosen]
    used = [dict(batch) for batch in fitted(chosen, config.shapes)]
    offered = getattr(model, "dynamic_axes", None)
    known: Axes = task.axes(_configuration(model), config.dynamic) if task is not None else offered() if offered else {}
    axes = find_axes(used, fixed=config.shapes, given=config.axes, known=known)
    opset, attention, warnings = _operators(target, config)
    return Plan(
        module=model if task is None else task.wrap(model),
        family=family,
        task=name,
        outputs=tuple(config.outputs) or (task.outputs if task is not None else ()),
        opset=opset,
        attention=attention,
        projections=config.projections or target.export.projections,
        axes=axes,
        dtype=dtype or "",
        tolerance=config.tolerance or TOLERANCES[dtype or "float32"],
        example=_example(used, axes),
        checks=[*parity_batches(used, axes, limit=config.parity_samples), *beyond(model, used[0])],
        warnings=remarks + warnings,
        decoder=_form(name, attention, target, config),
        context=config.context,
    )


def _form(task: str, attention: str, target: Target, config: ExportConfig) -> Literal["portable", "decoder-cpu"]:
    """Return the form of the graph, which is the target's for what generates text with its attention fused."""
    if task != "text-generation" or attention != "fused" or config.shapes:
        return "portable"
    return config.decoder or target.export.decoder


def _choose(
    samples: Batches | None, task: Task | None, model: torch.nn.Module, config: ExportConfig
) -> tuple[list[Batch], tuple[str, ...]]:
    """Return the samples to use and a remark about them: data sets do not contain the caches of a decoder."""
    limit = config.parity_samples
    remarks: tuple[str, ...] = ()
    if samples is None and task is None:
        samples = _own_examples(model)
    first = itertools.islice(samples, limit) if samples is not None else ()
    given = [_arrays(batch, number) for number, batch in enumerate(first)]
    if samples is not None and (not given or not given[0]):
        raise DataError("export needs at least one sample batch to call the model with; the samples are empty")
    if task is None:
        return given, remarks
    configuration = _configuration(model)
    missing = [name for name in task.inputs(configuration) if given and name not in given[0]]
    if given and (task.wrap is unwrapped or not missing):
        more = random_samples(task, configuration, dynamic=config.dynamic) if config.dynamic else []
        return [*given[: max(1, limit - len(more))], *more], remarks
    reason = f"the samples lack '{missing[0]}'" if missing else "no samples were given"
    drawn = random_samples(task, configuration, dynamic=config.dynamic)
    return drawn, (f"traced and compared on random inputs: {reason}",)


def _arrays(batch: Batch, number: int) -> Batch:
    """Return a sample's arrays in this machine's byte order.

    Raises:
        DataError: one is of a type that no tensor has, or holds no rows.
    """
    made = {name: np.asarray(values) for name, values in batch.items()}
    for name, array in made.items():
        if array.dtype.kind not in "biuf" and array.dtype != ml_dtypes.bfloat16:
            raise DataError(f"sample {number}, input '{name}': values of type {array.dtype}; give integers, floats or booleans")
        if array.ndim and not len(array):
            raise DataError(f"sample {number}, input '{name}': holds no rows; leave the sample out")
    return {name: array.astype(array.dtype.newbyteorder("="), copy=False) for name, array in made.items()}


def _own_examples(model: torch.nn.Module) -> Batches:
    """Return the samples of the module's `example_inputs()`."""
    offered, name = getattr(model, "example_inputs", None), type(model).__name__
    try:
        found = [{str(key): np.asarray(value) for key, value in batch.items()} for batch in offered()] if offered else []
    except Exception as error:  # (the model's code may raise anything, and return anything)
        said = f"{type(error).__name__}: {error}"
        raise DataError(
            f"{name}.example_inputs() must return a list of mappings, arrays by input name; it gave {said}"
        ) from error
    if not found:
        raise DataError(
            f"export needs samples to call {name} with, because it belongs to no family: "
            f"give data (--data FILE.npz), or give the module a method example_inputs() that returns [{{input name: array}}]"
        )
    return found


def _check_dynamic(model: torch.nn.Module, task: Task | None, config: ExportConfig) -> None:
    allowed = task.resizable(_configuration(model)) if task is not None else {}
    for name in config.dynamic:
        if name not in allowed:
            known = ", ".join(allowed) or "none; a module without a family takes 'axes'"
            raise RecipeError(
                f"dynamic: '{name}'{nearest(name, allowed)} is not an axis that can be dynamic in this model; allowed: {known}"
            )


def _configuration(model: torch.nn.Module) -> Any:
    """Return the transformers configuration of `model`, None for any other module."""
    config = getattr(model, "config", None)
    return config if hasattr(config, "model_type") else None


def _task_of(model: torch.nn.Module, config: ExportConfig) -> tuple[str, str, Task | None]:
    """Return the names of family and task, and the task itself; a module that is not transformers' is generic."""
    found = _configuration(model)
    if found is None or config.family == "generic":
        return "generic", config.task or "", None
    family = load_family(config.family) if config.family else family_of(found.model_type)
    name = family.task_of(type(model).__name__, config.task)
    return family.name, name, family.tasks[name]


def _operators(target: Target, config: ExportConfig) -> tuple[int, Literal["fused", "decomposed"], tuple[str, ...]]:
    opset = config.opset or target.export.opset
    attention = config.attention or target.export.attention
    if attention == "decomposed" or opset >= _FIRST_OPSET_WITH_ATTENTION:
        return opset, attention, ()
    if config.attention == "fused":
        raise RecipeError(f"attention 'fused' needs opset {_FIRST_OPSET_WITH_ATTENTION} or later, not {opset}")
    return opset, "decomposed", (f"attention is decomposed: opset {opset} has no Attention operator",)


def _example(samples: Sequence[Batch], axes: Axes) -> Batch:
    """Return the longest sample, with every dynamic axis at least 2 long: torch treats sizes 0 and 1 as constants."""
    longest = max(samples, key=lambda batch: sum(array.size for array in batch.values()))
    return {name: _stretch(array, axes[name]) for name, array in longest.items()}


def _stretch(array: Array, dynamic: Mapping[int, str]) -> Array:
    for axis, name in dynamic.items():
        if array.shape[axis] == 1 and not summed(name):
            array = np.repeat(array, 2, axis=axis)
    return array
