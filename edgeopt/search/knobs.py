"""What of a recipe can be varied, with the values to try: given in `[search] knobs`, or what the recipe's stages allow.

distill.layers            every k-th layer of the teacher, for some depths
distill.arguments.width   (or channels, hidden) of a student of your own: half to all of it
prune.macs                (or parameters, latency: the recipe's own budget) a third, a half, …, and no pruning at all
quantize.scheme           static and dynamic int8
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeopt.errors import RecipeError
from edgeopt.prune.config import BUDGETS, PruneOptions
from edgeopt.recipe import Recipe

OFF = "off"
"""The value that leaves the table of a key out."""
_WIDTHS = ("width", "channels", "hidden", "hidden_size", "dim")
_SHARES = (0.75, 0.5, 0.35)
_STEP = 8


@dataclass(frozen=True)
class Knob:
    """A key of the recipe, and the values it takes; the first is the recipe's own."""

    key: str
    choices: tuple[Any, ...]
    names: tuple[str, ...] = ()
    """Short names of long choices; none: the choices as JSON."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The choices by names that a study can store."""
        return self.names or tuple(json.dumps(choice) for choice in self.choices)


Setting = Mapping[str, Any]
"""Key of the recipe → value."""


def knobs_of(recipe: Recipe) -> tuple[Knob, ...]:
    """Return what is varied.

    Raises:
        RecipeError: a given knob does not exist in this recipe, or there is nothing to vary.
    """
    given = recipe.search.knobs
    knobs = tuple(_given(recipe, key, choices) for key, choices in given.items()) if given else tuple(_own(recipe))
    knobs = tuple(knob for knob in knobs if len(knob.choices) > 1)
    if not knobs and (given or not recipe.prune):
        raise RecipeError("nothing in this recipe can be varied; name keys and values in its table [search], under knobs")
    return knobs


def applied(recipe: Recipe, setting: Setting, *, where: str = "search") -> Recipe:
    """Return the recipe with some of its keys set.

    Raises:
        RecipeError: a key does not exist, or a value is not allowed there.
    """
    values = json.loads(recipe.model_dump_json(exclude_none=True))
    for key, value in setting.items():
        *tables, last = key.split(".")
        place: Any = values
        if value == OFF:
            values.pop(tables[0] if tables else last, None)
            continue
        if tables == ["prune"] and last in BUDGETS:  # one takes the place of another
            for other in BUDGETS:
                values.get("prune", {}).pop(other, None)
        for table in tables:
            place = place.setdefault(table, {})
            if not isinstance(place, dict):
                raise RecipeError(f"{where}: '{key}': '{table}' is a value, not a table")
        place[last] = deepcopy(value)
    return Recipe.read(values, where=where)


def _given(recipe: Recipe, key: str, choices: Sequence[Any]) -> Knob:
    """Return a knob of `[search]`, checked: each choice makes a recipe."""
    if not choices:
        raise RecipeError(f"search.knobs: '{key}' has no values; list two or more")
    table = key.partition(".")[0]
    if getattr(recipe, table, None) is None:
        raise RecipeError(f"search.knobs: '{key}': this recipe has no table [{table}]; add it, or leave the knob out")
    for choice in choices:
        applied(recipe, {key: choice}, where=f"search.knobs, {key} = {choice!r}")
    return Knob(key, _distinct(choices))


def _own(recipe: Recipe) -> Iterator[Knob]:
    """Yield the knobs that the recipe's stages have."""
    if recipe.distill and recipe.distill.layers:
        yield Knob("distill.layers", _distinct([recipe.distill.layers, *_depths(recipe)]))
    for name, value in recipe.distill.arguments.items() if recipe.distill else ():
        if name in _WIDTHS and isinstance(value, int):
            sizes = [max(_STEP, round(value * share / _STEP) * _STEP) for share in (0.75, 0.5)]
            yield Knob(f"distill.arguments.{name}", _distinct([value, *sizes]))
    if recipe.prune and not recipe.prune.without_budget:
        yield _pruned(recipe.prune)
    if recipe.quantize.scheme == "static":
        yield Knob("quantize.scheme", ("static", "dynamic"))


def _pruned(prune: PruneOptions) -> Knob:
    """Return how much is pruned, by the budget that the recipe has; one that is no share is kept or left out with its table."""
    if prune.latency is not None:
        shares = [f"{share:g}x" for share in _SHARES] if prune.latency.endswith("x") else []
        return Knob("prune.latency", _distinct([prune.latency, *shares, OFF]))
    if prune.units:
        return Knob("prune.units", (prune.units, OFF))
    name, own = ("macs", prune.macs) if prune.parameters is None else ("parameters", prune.parameters)
    return Knob(f"prune.{name}", _distinct([own, *_SHARES, OFF]))


def _depths(recipe: Recipe) -> Iterator[list[int]]:
    """Yield evenly spaced layers of the teacher for half, a third and a sixth of its depth; its last layer is among them."""
    teacher = Path(recipe.teacher.source) if recipe.teacher else Path()
    file = teacher / "config.json"
    try:
        count = int(json.loads(file.read_text(encoding="utf-8"))["num_hidden_layers"])
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError):
        return
    for kept in dict.fromkeys(max(1, round(count * share)) for share in (2 / 3, 1 / 2, 1 / 3, 1 / 6)):
        yield [round((place + 1) * count / kept) - 1 for place in range(kept)]


def _distinct(choices: Sequence[Any]) -> tuple[Any, ...]:
    return tuple({json.dumps(choice): choice for choice in choices}.values())
