"""The stages of a recipe, in the order they run, with their dependencies."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgeopt.errors import RecipeError
from edgeopt.prune.config import BUDGETS
from edgeopt.recipe import Recipe
from edgeopt.stages.bundle import run_bundle
from edgeopt.stages.distill import run_distill
from edgeopt.stages.export import run_export
from edgeopt.stages.forecast import run_forecast
from edgeopt.stages.job import Stage
from edgeopt.stages.language import run_bundle_language, run_generation, run_quantize_language
from edgeopt.stages.onnx_import import run_import
from edgeopt.stages.profile import run_profile
from edgeopt.stages.prune import run_prune
from edgeopt.stages.quantize import run_quantize
from edgeopt.stages.teacher import run_teacher
from edgeopt.stages.verify import run_verify
from edgeopt.targets.target import Target

_TRAIN = ("train",)
_CALIBRATION = ("calibration",)
_EVALUATION = ("evaluation", "calibration")
"""With the split that replaces a missing evaluation split."""


def stages_of(recipe: Recipe, target: Target) -> list[Stage]:
    """Return the stages of `recipe` in the order they run."""
    torch_stages = _torch_stages(recipe, target)
    names = [stage.name for stage in torch_stages]
    exports = _export_stages(recipe, target, names)
    fp32 = exports[0].name if exports else "import"
    if not exports:
        exports = [_import_stage(recipe)]
    others = tuple(stage.name for stage in exports[1:])
    return [
        *torch_stages,
        *exports,
        _quantize_stage(recipe, target, fp32),
        Stage(
            "verify",
            run_verify,
            {
                **_json(recipe.verify),
                "run": {"max_drop_points": recipe.max_drop_points, "task": recipe.task},
                "provider": _json(target.provider),
            },
            needs=(*names, fp32, "quantize"),
            splits=_EVALUATION,
            builders=_builders(recipe),
        ),
        *_profile_stages(recipe, target, (fp32, "quantize", *others)),
        _bundle_stage(recipe, (*names, fp32, "quantize")),
    ]


def _quantize_stage(recipe: Recipe, target: Target, fp32: str) -> Stage:
    if recipe.language is not None:
        return Stage("quantize", run_quantize_language, _json(recipe.language), needs=(fp32,), splits=_CALIBRATION)
    options = {**_json(recipe.quantize), "target": _json(target.quantization), "provider": _json(target.provider)}
    plans = (recipe.quantize.plan,) if recipe.quantize.plan else ()
    return Stage("quantize", run_quantize, options, needs=(fp32,), splits=_CALIBRATION, sources=plans)


def forecast_stage(recipe: Recipe, target: Target) -> Stage:
    """Return the stage that a search runs beside those of `recipe`: what the parts of the model that is pruned cost.

    Raises:
        RecipeError: it prunes none.
    """
    if recipe.prune is None:
        raise RecipeError("a forecast is about what [prune] removes, and the recipe has no such table")
    training = {"train", "loss", "units", *BUDGETS}
    options = {
        "prune": json.loads(recipe.prune.model_dump_json(exclude=training)),
        "quantize": _json(recipe.quantize),
        "target": _json(target),
    }
    return Stage(
        "forecast",
        run_forecast,
        options,
        needs=("teacher", "distill") if recipe.distill else ("teacher",),
        splits=("train", *_CALIBRATION),
        builders=_builders(recipe),
        reads_machine=True,
    )


def _torch_stages(recipe: Recipe, target: Target) -> list[Stage]:
    stages = []
    builders = _builders(recipe)
    if recipe.teacher:
        place = Path(recipe.teacher.source)
        options = {**_json(recipe.teacher), "source": place.name if place.is_dir() else recipe.teacher.source}
        sources = _existing([recipe.teacher.source, *recipe.teacher.arguments.values()])
        stages.append(Stage("teacher", run_teacher, options, splits=_TRAIN, sources=sources, builders=builders))
    if recipe.distill:
        distill = Stage(
            "distill",
            run_distill,
            _json(recipe.distill),
            needs=("teacher",),
            splits=_TRAIN,
            sources=_existing([recipe.distill.source, *recipe.distill.arguments.values()]),
            further=tuple(recipe.distill.unlabelled),
            builders=builders,
        )
        stages.append(distill)
    if recipe.prune:
        needs = ("teacher", "distill") if recipe.distill else ("teacher",)
        timed = recipe.prune.latency is not None
        options = {**_json(recipe.prune), "target": _json(target if timed else target.pruning)}
        stages.append(Stage("prune", run_prune, options, needs=needs, splits=_TRAIN, builders=builders, reads_machine=timed))
    return stages


def _existing(values: Iterable[object]) -> tuple[Path, ...]:
    """Return the files and folders that values of the recipe name: their content decides what a stage computes."""
    return tuple(path for value in values if isinstance(value, str) and value and (path := Path(value)).exists())


def _builders(recipe: Recipe) -> tuple[str, ...]:
    """Return the modules of the recipe's ``module:callable`` builders: their code decides what a folder of weights computes."""
    sources = [part.source for part in (recipe.teacher, recipe.distill) if part and part.source]
    return tuple(dict.fromkeys(source.partition(":")[0] for source in sources if ":" in source and not Path(source).exists()))


def _export_stages(recipe: Recipe, target: Target, names: list[str]) -> list[Stage]:
    """Return the export of the last model first (it is quantized), then those of the others."""
    options = {**_json(recipe.export), "target": _json(target.export)}
    last = names[-1:] if recipe.compare == "last" else names[::-1]
    return [
        Stage(
            "export" if index == 0 else f"export-{name}",
            run_export,
            options,
            needs=(name,),
            splits=_CALIBRATION,
            builders=_builders(recipe),
        )
        for index, name in enumerate(last)
    ]


def _import_stage(recipe: Recipe) -> Stage:
    path = Path(str(recipe.model))
    return Stage("import", run_import, {"file": path.name}, sources=(path,))


def _profile_stages(recipe: Recipe, target: Target, needs: tuple[str, ...]) -> list[Stage]:
    """Return the stage that measures the models; none where the recipe says so."""
    if recipe.language is not None:
        if not recipe.generation:
            return []
        if target.device.transport != "local" or target.device.python or target.device.launcher:
            raise RecipeError(f"generation is measured on this machine, not on target '{target.name}': set generation = false")
        return [Stage("generation", run_generation, _json(recipe.generation), needs=needs, reads_machine=True)]
    if not recipe.profile:
        return []
    options = {**_json(recipe.profile), "provider": _json(target.provider), "device": _json(target.device)}
    return [Stage("profile", run_profile, options, needs=needs, splits=_EVALUATION, reads_machine=True)]


def _bundle_stage(recipe: Recipe, needs: tuple[str, ...]) -> Stage:
    options = {**_json(recipe.bundle), "recipe": recipe.to_toml()}
    if recipe.language is not None:  # (it records tokens per second)
        return Stage("bundle", run_bundle_language, options, needs=needs, reads_machine=True)
    return Stage("bundle", run_bundle, options, needs=needs, splits=_EVALUATION, reads_machine=recipe.bundle.latency)


def _json(options: Any) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(options.model_dump_json())
    return values
