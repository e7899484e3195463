"""The stages of a recipe, in the order they run, with their dependencies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgeopt.recipe import Recipe
from edgeopt.stages.job import Facts, Stage
from edgeopt.stages.learn import run_distill, run_prune, run_teacher
from edgeopt.stages.ship import run_bundle, run_export, run_import, run_profile, run_quantize, run_verify
from edgeopt.targets.target import Target

_TRAIN = ("train",)
_CALIBRATION = ("calibration",)
_EVALUATION = ("evaluation", "calibration")
"""With the split that replaces a missing evaluation split."""


def stages_of(recipe: Recipe, target: Target) -> list[Stage]:
    """Return the stages of `recipe` in the order they run."""
    torch_stages = _torch_stages(recipe)
    names = [stage.name for stage in torch_stages]
    exports = _export_stages(recipe, target, names)
    fp32 = exports[0].name if exports else "import"
    if not exports:
        exports = [_import_stage(recipe)]
    quantization = {**_json(recipe.quantize), "target": _json(target.quantization), "provider": _json(target.provider)}
    plans = (recipe.quantize.plan,) if recipe.quantize.plan else ()
    others = tuple(stage.name for stage in exports[1:])
    return [
        *torch_stages,
        *exports,
        Stage(
            "quantize",
            run_quantize,
            quantization,
            needs=(fp32,),
            packages=("quantize", "graph", "passes", "models", "targets"),
            splits=_CALIBRATION,
            sources=plans,
        ),
        Stage(
            "verify",
            run_verify,
            _json(recipe.verify),
            needs=(*names, fp32, "quantize"),
            packages=("evaluate", "graph", "models", "targets"),
            splits=_EVALUATION,
        ),
        *([_profile_stage(recipe, target, (fp32, "quantize", *others))] if recipe.profile else []),
        Stage(
            "bundle",
            run_bundle,
            _bundle_options(recipe),
            needs=("quantize",),
            packages=("bundle", "graph", "models", "deploy/runner", "deploy/templates"),
            splits=_EVALUATION,
        ),
    ]


def _torch_stages(recipe: Recipe) -> list[Stage]:
    stages = []
    if recipe.teacher:
        folder = Path(recipe.teacher.source)
        options = {**_json(recipe.teacher), "source": folder.name if folder.is_dir() else recipe.teacher.source}
        sources = (folder,) if folder.is_dir() else ()
        trains = recipe.teacher.train is not None
        stages.append(
            Stage(
                "teacher",
                run_teacher,
                options,
                packages=("train", "models") if trains else ("models",),
                splits=_TRAIN,
                sources=sources,
            )
        )
    learning = ("distill", "train", "models")
    if recipe.distill:
        stages.append(
            Stage("distill", run_distill, _json(recipe.distill), needs=("teacher",), packages=learning, splits=_TRAIN)
        )
    if recipe.prune:
        needs = ("teacher", "distill") if recipe.distill else ("teacher",)
        stages.append(Stage("prune", run_prune, _json(recipe.prune), needs=needs, packages=("prune", *learning), splits=_TRAIN))
    return stages


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
            packages=("export", "passes", "graph", "exporters", "models"),
            splits=_CALIBRATION,
        )
        for index, name in enumerate(last)
    ]


def _import_stage(recipe: Recipe) -> Stage:
    path = Path(str(recipe.model))
    return Stage("import", run_import, {"file": path.name}, packages=("graph", "models"), sources=(path,))


def _profile_stage(recipe: Recipe, target: Target, needs: tuple[str, ...]) -> Stage:
    options = {**_json(recipe.profile), "provider": _json(target.provider), "device": _json(target.device)}
    return Stage(
        "profile",
        run_profile,
        options,
        needs=needs,
        packages=("profile", "verdict", "graph", "models", "targets", "deploy/runner"),
        splits=_EVALUATION,
        reads_machine=True,
    )


def _bundle_options(recipe: Recipe) -> Facts:
    return {**_json(recipe.bundle), "recipe": recipe.to_toml()}


def _json(options: Any) -> Facts:
    values: Facts = json.loads(options.model_dump_json())
    return values
