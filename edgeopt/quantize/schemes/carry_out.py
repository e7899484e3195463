"""Quantize by one of this folder's schemes: prepare → convert → inspect → write."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path

import onnx_ir as ir

from edgeopt.batches import Batches
from edgeopt.errors import InternalError, ModelError, RecipeError, nearest
from edgeopt.graph import files
from edgeopt.graph.macs import count_macs
from edgeopt.graph.matching import named_nodes
from edgeopt.graph.outputs import open_exposed, same_outputs
from edgeopt.graph.requirements import note_minimum
from edgeopt.quantize.calibrate.samples import checked
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.inspect.coverage import inspect
from edgeopt.quantize.inspect.sqnr import output_noise
from edgeopt.quantize.plan.cause import Cause, Why
from edgeopt.quantize.plan.plan import Plan, load_plan, save_plan
from edgeopt.quantize.prepare import Prepared, prepare
from edgeopt.quantize.result import QuantizeFacts, QuantizeResult
from edgeopt.quantize.schemes.converted import Converted, Request
from edgeopt.targets.target import Target

SCHEMES = {
    "dynamic": "dynamic",
    "float16": "half",
    "bfloat16": "bfloat16",
    "weights-int8": "weights",
    "weights-int4": "weights",
}
"""The module of this folder that converts, by the scheme's name."""


def quantize_by_scheme(
    model: Path, calibration: Batches, *, target: Target, output: Path, config: QuantizeConfig
) -> QuantizeResult:
    """Convert the ONNX file `model` by `config.scheme` and write it to `output`; arguments and errors as `quantize` has them.

    Raises:
        RecipeError: an option does not fit the scheme; `max_drop` and `sensitivity` belong to static quantization.
    """
    prepared, converted = _converted(Path(model), calibration, target, config)
    plan = _plan(converted, prepared, target)
    changed = any(node.precision != "float" for node in plan.nodes)
    made = converted.model if changed else files.load(model)
    samples_seen, warnings = converted.samples, converted.warnings
    del converted  # with the weights that the scheme has replaced
    _check(made, str(model))
    samples = list(islice(checked(calibration, prepared.signature), config.noise_samples))
    coverage = inspect(made, count_macs(prepared.model, samples[0]), plan, target, samples[0])
    output = Path(output)
    oldest = note_minimum(made)
    files.save(made, output)
    plan_path = save_plan(plan, output)
    before, after = files.size_bytes(model), files.size_bytes(output)
    facts = QuantizeFacts(
        target=target.name,
        scheme=plan.scheme,
        samples=samples_seen,
        tensors=0,
        coverage=coverage,
        layers=output_noise(prepared.model, made, samples, threads=config.threads),
        sensitivity=(),
        decisions=plan.decisions,
        warnings=(*warnings, *_warnings(before, after)),
        size_bytes_before=before,
        size_bytes_after=after,
        min_onnxruntime=oldest,
    )
    return QuantizeResult(output, plan_path, facts)


def draft_by_scheme(model: Path, calibration: Batches, *, target: Target, config: QuantizeConfig) -> Plan:
    """Return the plan that `quantize_by_scheme` would carry out; nothing is written."""
    prepared, converted = _converted(Path(model), calibration, target, config)
    return _plan(converted, prepared, target)


def _converted(model: Path, calibration: Batches, target: Target, config: QuantizeConfig) -> tuple[Prepared, Converted]:
    """Return the model prepared, and converted."""
    for name in ("max_drop", "sensitivity", "cache"):
        if getattr(config, name):
            raise RecipeError(f'{name} is about static int8 layers and needs scheme = "static", not "{config.scheme}"')
    prepared = prepare(files.load(model), str(model), rewrite=False)
    first = next(checked(calibration, prepared.signature))
    if not same_outputs(model, prepared.model, first):
        raise InternalError(f"{model}: preparing the model changes what it computes; please report it with the model")
    module = import_module(f"edgeopt.quantize.schemes.{SCHEMES[config.scheme]}")
    converted: Converted = module.convert(Request(prepared, calibration, config, _excluded(prepared, target, config)))
    return prepared, converted


def _excluded(prepared: Prepared, target: Target, config: QuantizeConfig) -> dict[str, Why]:
    """Return the nodes that are to stay as they are: named by the caller, or in the plan that is carried out again."""
    names = set(named_nodes(prepared.model.graph))
    for name in config.exclude:
        if name not in names:
            raise RecipeError(f"exclude: the prepared model has no node '{name}'{nearest(name, names)}")
    excluded = dict.fromkeys(config.exclude, Why(Cause.EXCLUDED))
    if config.plan is None:
        return excluded
    plan = load_plan(config.plan)
    kinds = {node.precision for node in plan.nodes} - {"float"}
    allowed = {"dynamic": "int8", "weights-int8": "int8", "weights-int4": "int4"}.get(config.scheme, config.scheme)
    if plan.target != target.name or kinds - {allowed}:
        raise RecipeError(
            f"{config.plan}: a plan for {plan.target} with {', '.join(sorted(kinds)) or 'nothing'}, "
            f'not for {target.name} with scheme = "{config.scheme}"; make a plan for this one'
        )
    for node in plan.nodes:
        if node.name not in names:
            raise RecipeError(
                f"{config.plan}: the model has no node '{node.name}'{nearest(node.name, names)}; is it another model's plan?"
            )
    return excluded | plan.floating


def _plan(converted: Converted, prepared: Prepared, target: Target) -> Plan:
    return Plan(target.name, converted.scheme, converted.nodes, (), (*prepared.decisions, *converted.decisions))


def _check(model: ir.Model, name: str) -> None:
    """Make sure that onnxruntime loads what was made, before it is written."""
    try:
        open_exposed(model, threads=1)
    except ModelError as error:
        raise InternalError(
            f"{name}: onnxruntime does not load the result ({error}); please report it with the model"
        ) from error


def _warnings(before: int, after: int) -> Iterator[str]:
    if after >= before:
        yield f"the quantized model is not smaller: {after:,} bytes against {before:,}"
