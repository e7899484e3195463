"""How long each candidate is trained, and which ones: successive halving over three rungs.

    forecast    nothing is run: time, size and error follow from those of the parts (`proposals`), for transformers
    untrained   of other candidates: one step of training, a short measurement. Time and size are exact, the metric means
                nothing. Candidates beyond a budget go no further.
    short       a share of the recipe's epochs (`search.short`)
    full        all epochs, for those on the front of metric, time and size after the short training
    final       the same recipe measured as long as `[profile]` says, one at a time

(Jamieson and Talwalkar, https://arxiv.org/abs/1502.07943; here with several objectives: the best of a rung are its front.)
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any

from edgeopt.recipe import Recipe
from edgeopt.search.knobs import Setting, applied

_ONE_STEP = 1e-6
_RECOVERIES = {"train", "lora"}
"""Recoveries of pruning that train; the others take the same time at every rung."""


class Rung(StrEnum):
    """How far a candidate is taken."""

    UNTRAINED = "untrained"
    SHORT = "short"
    FULL = "full"
    FINAL = "final"


def recipe_at(recipe: Recipe, setting: Setting, rung: Rung, *, target: str | None = None, trained: Rung = Rung.FULL) -> Recipe:
    """Return the recipe of a candidate, trained and measured as the rung asks; the final one is trained as `trained` was."""
    made = applied(recipe, setting)
    values: dict[str, Any] = json.loads(made.model_dump_json(exclude_none=True))
    options = values.pop("search")
    share = {Rung.UNTRAINED: _ONE_STEP, Rung.SHORT: options["short"]}.get(trained if rung == Rung.FINAL else rung, 1.0)
    for stage in _trainings(made):
        values[stage]["train"]["epochs"] *= share
    if target is not None:
        values["target"] = target
    if rung != Rung.FINAL:
        values |= {"compare": "last", "allow_worse": True, "max_drop_points": 100.0}
        values["verify"]["max_drop_points"] = 100.0
        if values.get("profile"):
            values["profile"] |= {"seconds": options["profile_seconds"], "budget": []}
    return Recipe.read(values, where=f"search, {rung}")


def is_trained(recipe: Recipe) -> bool:
    """Return whether a recipe trains anything, so that rungs differ."""
    return bool(_trainings(recipe))


def _trainings(recipe: Recipe) -> list[str]:
    """Return the stages that train for as many epochs as the rung says."""
    prunes = recipe.prune is not None and recipe.prune.recovery in _RECOVERIES
    return [*(["distill"] if recipe.distill else []), *(["prune"] if prunes else [])]
