"""What a stage is, and what its function works with: the recipe, its data, the artifacts it builds on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edgeopt.errors import InternalError

if TYPE_CHECKING:
    from edgeopt.recipe import Recipe
    from edgeopt.stages.results import StageFacts
    from edgeopt.stages.samples import Data
    from edgeopt.store import Workspace
    from edgeopt.targets.target import Target

FactsType = TypeVar("FactsType")


@dataclass(frozen=True)
class Job:
    """Arguments of a stage's function: the recipe, the artifacts it depends on, the results of their stages, where to write."""

    recipe: Recipe
    target: Target
    data: Data
    inputs: Mapping[str, Path]
    facts: Mapping[str, StageFacts]
    workspace: Workspace

    def facts_of(self, stage: str, kind: type[FactsType]) -> FactsType:
        """Return the result of the stage called `stage`, which is of type `kind`."""
        facts = self.facts[stage]
        if not isinstance(facts, kind):
            raise InternalError(f"stage '{stage}' gave {type(facts).__name__}, not {kind.__name__}")
        return facts


@dataclass(frozen=True)
class Stage:
    """One step of a recipe.

    Attributes:
        name: unique in the recipe.
        run: does the work and returns the result; the code that its module reaches is part of the key.
        options: the options it depends on, as JSON.
        needs: names of the stages whose artifacts it reads.
        splits: the splits it reads samples from.
        reads_machine: its result holds for this machine only.
        sources: other files or folders whose content the result depends on.
        further: other sources of samples that it reads.
        builders: modules that build the PyTorch models it loads.
    """

    name: str
    run: Callable[[Job], StageFacts]
    options: Mapping[str, Any]
    needs: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    reads_machine: bool = False
    sources: tuple[Path, ...] = ()
    further: tuple[str, ...] = ()
    builders: tuple[str, ...] = ()

    @property
    def modules(self) -> tuple[str, ...]:
        """Return the modules whose code, and all that it reaches, decides the result."""
        return (self.run.__module__, *(["edgeopt.stages.samples"] if self.splits else []), *self.builders)
