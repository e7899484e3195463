"""The stage `quantize`: prepare → convert by a scheme → inspect and write."""

from __future__ import annotations

from pathlib import Path

from edgeopt.batches import Batches
from edgeopt.errors import RecipeError, nearest
from edgeopt.graph.matching import named_nodes
from edgeopt.quantize.calibrate.samples import CheckedSamples
from edgeopt.quantize.config import QuantizeConfig
from edgeopt.quantize.plan.plan import Plan, load_plan
from edgeopt.quantize.planner import excluded_nodes
from edgeopt.quantize.prepare import Prepared, checked_on, comparable, prepare_for
from edgeopt.quantize.result import QuantizeResult
from edgeopt.quantize.schemes.scheme import Evaluate, Request, scheme_called
from edgeopt.quantize.write import write_quantized
from edgeopt.targets.target import Target

_DEFAULTS = QuantizeConfig()
_STATIC_ALONE = ("max_drop", "sensitivity", "cache", "train", "prefer_faster", "rounding", "weight_ranges")
_PRECISIONS = {"static": "int8", "dynamic": "int8", "weights-int8": "int8", "weights-int4": "int4"}
"""What a plan's nodes have that change, where it is not called as the scheme is."""


def quantize(
    model: Path,
    calibration: Batches,
    *,
    target: Target,
    output: Path,
    config: QuantizeConfig = _DEFAULTS,
    evaluate: Evaluate | None = None,
) -> QuantizeResult:
    """Quantize the floating-point ONNX file `model` for `target` and write it to `output`.

    Args:
        model: an ONNX file, with external data beside it if it has any.
        calibration: batches of real inputs; the shapes may differ from batch to batch.
        target: decides the integer types and where they pay.
        output: the quantized file; its plan is written beside it as ``<stem>.plan.json``.
        config: options.
        evaluate: gives the metric (larger is better) of an ONNX file, for `config.max_drop`.

    Returns:
        Paths and facts: scheme, coverage, per-layer noise, decisions with their reasons, warnings.

    Raises:
        ModelError: the model cannot be read, is quantized already, or has operators onnxruntime does not know.
        DataError: the calibration samples do not fit the model or hold numbers that are not finite.
        RecipeError: an option does not fit the model, or `max_drop` is set without `evaluate`.
        MachineError: the disk is full or `output` may not be written.
    """
    if Path(output).exists() and Path(model).exists() and Path(output).samefile(model):
        raise RecipeError(f"{output}: the output is the floating-point model itself; name another file")
    config = _resumable(config, Path(output))
    request = _request(Path(model), calibration, target, config, evaluate)
    converted = scheme_called(config.scheme).convert(request)
    result = write_quantized(converted, request, Path(output))
    if config.train is not None and config.train.checkpoint is not None:
        config.train.checkpoint.unlink(missing_ok=True)
    return result


def _resumable(config: QuantizeConfig, output: Path) -> QuantizeConfig:
    """Return the options with a place for the state of the training, beside the output where they name none."""
    if config.train is None or config.train.checkpoint is not None:
        return config
    train = config.train.model_copy(update={"checkpoint": output.with_name(f"{output.name}.training")})
    return config.model_copy(update={"train": train})


def draft(
    model: Path,
    calibration: Batches,
    *,
    target: Target,
    config: QuantizeConfig = _DEFAULTS,
    evaluate: Evaluate | None = None,
) -> Plan:
    """Return the plan that `quantize` would carry out with the same arguments; nothing is written.

    Where exceptions are searched for (`max_drop`, `prefer_faster`, `float_layers` on targets with costs), that is done as
    `quantize` does it, in memory; else nothing is quantized.

    Raises:
        ModelError, DataError, RecipeError: as `quantize` does.
    """
    request = _request(Path(model), calibration, target, config, evaluate)
    return scheme_called(config.scheme).draft(request)


def _request(model: Path, calibration: Batches, target: Target, config: QuantizeConfig, evaluate: Evaluate | None) -> Request:
    """Prepare the model, read the saved plan, and check that options, plan and samples go with it."""
    for name in _STATIC_ALONE if config.scheme != "static" else ():
        if getattr(config, name) != getattr(_DEFAULTS, name):
            raise RecipeError(f'{name} is about static int8 layers and needs scheme = "static", not "{config.scheme}"')
    saved = load_plan(config.plan) if config.plan is not None else None
    prepared = prepare_for(model, target, rewrite=scheme_called(config.scheme).REWRITES)
    samples = CheckedSamples(calibration, prepared.signature)
    prepared = comparable(checked_on(prepared, model, samples.take(1)[0]))
    excluded = excluded_nodes(prepared.model, config)
    if saved is not None:
        _check_plan(saved, prepared, target, config)
        excluded |= saved.floating
    return Request(prepared, samples, config, excluded, saved, target, evaluate, model)


def _check_plan(plan: Plan, prepared: Prepared, target: Target, config: QuantizeConfig) -> None:
    """Raise a `RecipeError` if a saved plan is for another target, scheme or model."""
    where = config.plan
    if plan.target != target.name:
        raise RecipeError(f"{where}: the plan is for target {plan.target}, not {target.name}; make a plan for this target")
    kinds = {node.precision for node in plan.nodes} - {"float"}
    if kinds - {_PRECISIONS.get(config.scheme, config.scheme)}:
        raise RecipeError(
            f"{where}: a plan for {plan.target} with {', '.join(sorted(kinds))}, "
            f'not for {target.name} with scheme = "{config.scheme}"; make a plan for this one'
        )
    names = set(named_nodes(prepared.model.graph))
    for node in plan.nodes:
        if node.name not in names:
            raise RecipeError(
                f"{where}: the model has no node '{node.name}'{nearest(node.name, names)}; is it another model's plan?"
            )
