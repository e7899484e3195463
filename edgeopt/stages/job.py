"""Arguments of a stage's function: the recipe, its data, the artifacts it depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeopt.data.manifest import Manifest, load_manifest
from edgeopt.errors import RecipeError
from edgeopt.recipe import DataOptions, Recipe
from edgeopt.store import Workspace
from edgeopt.targets.target import Target

if TYPE_CHECKING:
    from edgeopt.data.batches import Batch
    from edgeopt.data.samples import Samples
    from edgeopt.models.load import LoadedModel
    from edgeopt.train.loop import Session

Facts = dict[str, Any]


class Data:
    """The recipe's samples, read at first use."""

    def __init__(self, options: DataOptions, tokenizer: Path | None) -> None:
        self.options = options
        self.tokenizer = tokenizer

    @cached_property
    def manifest(self) -> Manifest:
        """The set's manifest."""
        return load_manifest(self.options.set)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the data that the samples are read from."""
        from edgeopt.data.sets import fingerprint

        own = self._own_calibration
        return fingerprint(self.options.set, tokenizer=self.tokenizer) + (f" {own.digest}" if own else "")

    @cached_property
    def _own_calibration(self) -> Samples | None:
        """The samples that `calibration` names instead of the set's own."""
        if self.options.calibration is None:
            return None
        from edgeopt.data.source import Reader, open_source

        inputs = tuple(item.name for item in self.manifest.inputs)
        return open_source(self.options.calibration, Reader(inputs, self.tokenizer))

    @cached_property
    def _splits(self) -> dict[str, Samples]:
        from edgeopt.data.sets import load_set

        splits = load_set(self.options.set, tokenizer=self.tokenizer)
        return splits if self._own_calibration is None else {**splits, "calibration": self._own_calibration}

    def example(self) -> Batch:
        """Return one real sample, the same for every stage that counts MACs."""
        return self._splits["train" if "train" in self._splits else "calibration"].collate([0])

    @cached_property
    def evaluated(self) -> frozenset[str]:
        """Hashes of the evaluation samples; empty if the set has no evaluation split."""
        from edgeopt.data.checks import digests

        return digests(self._splits["evaluation"]) if "evaluation" in self._splits else frozenset()

    def whole(self, name: str) -> Samples:
        """Return all samples of the split `name`."""
        if name not in self._splits:
            raise RecipeError(f"data set '{self.options.set}' has no {name} split; it has: {', '.join(self._splits)}")
        return self._splits[name]

    def split(self, name: str) -> Samples:
        """Return the split `name`, cut to its limit; without an evaluation split, the calibration samples stand in for it."""
        if name == "evaluation" and name not in self._splits:
            name = "calibration"
        samples = self.whole(name)
        limit = getattr(self.options, f"{name}_limit")
        return samples if limit is None else samples.first(limit)


@dataclass(frozen=True)
class Job:
    """Arguments of a stage's function: the recipe, the artifacts it depends on, their facts, and where to write."""

    recipe: Recipe
    target: Target
    data: Data
    inputs: Mapping[str, Path]
    facts: Mapping[str, Facts]
    workspace: Workspace

    @property
    def session(self) -> Session:
        """The recipe's seed and the checkpoint of this stage."""
        from edgeopt.train.loop import Session

        return Session(self.recipe.seed, self.workspace.checkpoint)


@dataclass(frozen=True)
class Stage:
    """One step of a recipe.

    Attributes:
        name: unique in the recipe.
        run: does the work and returns the facts.
        options: the options it depends on, as JSON.
        needs: names of the stages whose artifacts it reads.
        packages: edgeopt's packages whose code decides the result.
        splits: the splits it reads samples from.
        reads_machine: its result holds for this machine only.
        sources: other files or folders whose content the result depends on.
    """

    name: str
    run: Callable[[Job], Facts]
    options: Mapping[str, Any]
    needs: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    reads_machine: bool = False
    sources: tuple[Path, ...] = ()


def load(job: Job, name: str) -> LoadedModel:
    """Load the model that the stage `name` made; the recipe's own builder is trusted."""
    from edgeopt.models.load import load_model

    recipe = job.recipe
    builders = [recipe.distill.source if recipe.distill else None, recipe.teacher.source if recipe.teacher else None]
    if name == "teacher":
        builders.reverse()
    return load_model(job.inputs[name], source_builder=next((builder for builder in builders if builder), None))
