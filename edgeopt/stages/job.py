"""What a stage is, and what its function works with: the recipe, its data, the artifacts it builds on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeopt.recipe import Recipe
    from edgeopt.stages.samples import Data
    from edgeopt.store import Workspace
    from edgeopt.targets.target import Target

Facts = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What a stage's function gets: the recipe, the artifacts it builds on, the facts they came with, and where to write."""

    recipe: Recipe
    target: Target
    data: Data
    inputs: Mapping[str, Path]
    facts: Mapping[str, Facts]
    workspace: Workspace


@dataclass(frozen=True)
class Stage:
    """One step of a recipe.

    Attributes:
        name: unique in the recipe.
        run: does the work and returns the facts; the code that its module reaches is part of the key.
        options: the part of the recipe it depends on, as JSON.
        needs: names of the stages whose artifacts it reads.
        splits: the splits it reads samples from.
        reads_machine: its result holds for this machine only.
        sources: files or folders from outside whose content matters.
        builders: modules that build the PyTorch models it loads.
    """

    name: str
    run: Callable[[Job], Facts]
    options: Mapping[str, Any]
    needs: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    reads_machine: bool = False
    sources: tuple[Path, ...] = ()
    builders: tuple[str, ...] = ()

    @property
    def modules(self) -> tuple[str, ...]:
        """Return the modules whose code, and all that it reaches, decides the result."""
        return (self.run.__module__, *(["edgeopt.stages.samples"] if self.splits else []), *self.builders)
