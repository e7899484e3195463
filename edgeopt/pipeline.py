"""Plans the stages of a recipe, runs what changed, resumes what was killed, and writes the report.

A stage's key is the hash of its options, its inputs' digests, its data, its code and its libraries. A stage whose key has an
artifact in the store is not run again. The plan is a value: `plan` makes it, ``--dry-run`` prints it, `run` performs it.
"""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgeopt import __version__, progress
from edgeopt.data.sets import content_hash
from edgeopt.errors import IntegrityError, ModelError, RecipeError, nearest
from edgeopt.files import disk_errors, write_aside, write_json
from edgeopt.import_graph import code_hashes
from edgeopt.lifetime import temporary_folder
from edgeopt.machine import describe
from edgeopt.recipe import Recipe
from edgeopt.stages.job import Job, Stage
from edgeopt.stages.order import stages_of
from edgeopt.stages.results import read_facts, write_facts
from edgeopt.stages.samples import Data
from edgeopt.store import Artifact, Store, Workspace, key_of
from edgeopt.targets.availability import require
from edgeopt.targets.target import Target, load_target
from edgeopt.train.launched import announce, awaited

if TYPE_CHECKING:
    from edgeopt.report.record import RunRecord, StageRecord

_LIBRARIES = ("torch", "onnxruntime", "onnx", "onnx-ir", "onnxscript", "transformers", "torch-pruning", "numpy")
RECORD_FILE = "run.json"
_TRAININGS = ("teacher", "distill", "prune")


@dataclass(frozen=True)
class PlannedStage:
    """What will happen to a stage, and why.

    Attributes:
        name: the stage's name.
        action: "cached" or "run".
        reason: why it runs, or which artifact is used.
    """

    name: str
    action: Literal["cached", "run"]
    reason: str


@dataclass(frozen=True)
class StageOutcome:
    """A finished stage."""

    artifact: Artifact
    made: bool
    """True: the stage ran now; false: its artifact existed."""
    warnings: tuple[str, ...] = ()

    def record(self) -> StageRecord:
        """Return the outcome as a record for the report."""
        from edgeopt.report.record import StageRecord

        artifact = self.artifact
        status: Literal["made", "cached"] = "made" if self.made else "cached"
        return StageRecord(artifact.stage, artifact.key, status, artifact.seconds, dict(artifact.facts), self.warnings)


@dataclass(frozen=True)
class RunResult:
    """A finished run."""

    recipe: Recipe
    target: Target
    folder: Path
    outcomes: tuple[StageOutcome, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    device: Mapping[str, Any] = field(default_factory=dict)

    def record(self) -> RunRecord:
        """Return the run as a record for the report."""
        from edgeopt.report.record import RunRecord

        return RunRecord(
            name=self.recipe.name,
            recipe=self.recipe.model_dump(mode="json"),
            target=self.target.name,
            stages=tuple(outcome.record() for outcome in self.outcomes),
            versions=dict(self.versions),
            device=dict(self.device),
        )

    def artifact(self, stage: str) -> Path:
        """Return the folder of the artifact of `stage`.

        Raises:
            RecipeError: the recipe has no such stage.
        """
        folders = {outcome.artifact.stage: outcome.artifact.folder for outcome in self.outcomes}
        if stage not in folders:
            raise RecipeError(f"stage '{stage}' is not in this run{nearest(stage, folders)}; it has: {', '.join(folders)}")
        return folders[stage]

    @property
    def bundle(self) -> Path:
        """The bundle's folder."""
        return self.folder / "bundle"


class Pipeline:
    """A recipe and the run folder that holds its artifacts, or shares those of other runs in the folder `artifacts`."""

    def __init__(self, recipe: Recipe, folder: Path, *, artifacts: Path | None = None) -> None:
        self.recipe = recipe
        self.folder = Path(folder)
        self.target = load_target(recipe.target)
        self._store = Store(artifacts or self.folder)
        self._shared = artifacts is not None
        self._stages = stages_of(recipe, self.target)
        self._temporary = ExitStack()
        model = Path(recipe.model) if recipe.model else None
        self._data = Data(
            recipe.data,
            _tokenizer_folder(recipe, self._temporary),
            model=model,
            folder=_teacher_folder(recipe),
            task=recipe.task or (recipe.teacher.task if recipe.teacher else None) or recipe.export.task,
            seed=recipe.seed,
        )

    def plan(self) -> list[PlannedStage]:
        """Return what `run` would do, without doing it."""
        planned: list[PlannedStage] = []
        done: dict[str, Artifact] = {}
        for stage in self._stages:
            waiting = [name for name in stage.needs if name not in done]
            if waiting:
                planned.append(PlannedStage(stage.name, "run", f"its input {waiting[0]} is made again"))
                continue
            ingredients = self._ingredients(stage, done)
            try:
                artifact = self._store.find(stage.name, key_of(ingredients))
            except IntegrityError as error:
                planned.append(PlannedStage(stage.name, "run", f"its artifact is damaged: {error}"))
                continue
            if artifact:
                done[stage.name] = artifact
                planned.append(PlannedStage(stage.name, "cached", artifact.folder.name))
            else:
                planned.append(PlannedStage(stage.name, "run", self._why(stage, ingredients)))
        return planned

    def run(self) -> RunResult:
        """Run every stage that has no artifact yet and return all results; the bundle is in the run folder afterwards.

        Raises:
            EdgeoptError: a stage failed; everything finished before it is kept.
        """
        if self.recipe.profile:
            require(self.target)
        with Store(self.folder).lock():
            write_json(self.folder / "recipe.json", self.recipe.model_dump(mode="json"))
            with write_aside(self.folder / "recipe.toml") as aside:
                aside.write_text(self.recipe.to_toml(), encoding="utf-8")
            done: dict[str, Artifact] = {}
            outcomes = []
            with progress.task("stages", total=len(self._stages)) as advance:
                for stage in self._stages:
                    outcomes.append(self._run_stage(stage, done))
                    done[stage.name] = outcomes[-1].artifact
                    advance()
            announce("")
            self._place_bundle(done["bundle"])
            result = self._result(outcomes)
            with write_aside(self.folder / RECORD_FILE) as aside:
                aside.write_text(result.record().to_json(), encoding="utf-8")
        return result

    def make(self, stage: Stage) -> Artifact:
        """Return the artifact of a stage beside the recipe's own, made of theirs.

        Raises:
            EdgeoptError: a stage failed; everything finished before it is kept.
        """
        done: dict[str, Artifact] = {}
        with Store(self.folder).lock():
            for before in self._stages[: 1 + max((self._place(name) for name in stage.needs), default=-1)]:
                done[before.name] = self._run_stage(before, done).artifact
            return self._run_stage(stage, done).artifact

    def _place(self, name: str) -> int:
        return next(place for place, stage in enumerate(self._stages) if stage.name == name)

    def follow(self) -> None:
        """Take part in the trainings of the first of several processes, until there are no more (`edgeopt.train.launched`)."""
        while name := awaited():
            stage = next(stage for stage in self._stages if stage.name == name)
            done: dict[str, Artifact] = {}
            for before in self._stages[: self._stages.index(stage)]:
                artifact = self._store.find(before.name, key_of(self._ingredients(before, done)))
                if artifact is not None:
                    done[before.name] = artifact
            key = key_of(self._ingredients(stage, done))
            with temporary_folder() as output:
                stage.run(self._job(stage, done, self._store.joined_workspace(stage.name, key, output)))

    def _result(self, outcomes: list[StageOutcome]) -> RunResult:
        return RunResult(self.recipe, self.target, self.folder, tuple(outcomes), library_versions(), describe())

    def _run_stage(self, stage: Stage, done: Mapping[str, Artifact]) -> StageOutcome:
        ingredients = self._ingredients(stage, done)
        key = key_of(ingredients)
        if not self._shared:
            return self._made_or_found(stage, ingredients, key, done)
        device = f"device-{_device_name(self.target)}" if stage.reads_machine else None  # two measurements never share one
        with self._store.stage_lock(stage.name, key), self._store.named_lock(device):
            return self._made_or_found(stage, ingredients, key, done)

    def _made_or_found(self, stage: Stage, ingredients: dict[str, Any], key: str, done: Mapping[str, Artifact]) -> StageOutcome:
        warnings: list[str] = []
        try:
            artifact = self._store.find(stage.name, key)
        except IntegrityError as error:
            aside = self._store.set_aside(stage.name, key)
            warnings.append(f"{error}; moved to {aside.name} and made again")
            progress.note(warnings[-1])
            artifact = None
        if artifact:
            progress.note(f"{stage.name}: cached ({artifact.folder.name})")
            return StageOutcome(artifact, made=False)
        progress.note(f"{stage.name}: running, {self._why(stage, ingredients)}")
        workspace = self._store.workspace(stage.name, key)
        job = self._job(stage, done, workspace)
        start = time.monotonic()
        if stage.name in _TRAININGS:
            announce(stage.name)
        with disk_errors(workspace.output):
            facts = write_facts(stage.name, stage.run(job))
        artifact = self._store.finish(stage.name, ingredients, facts, time.monotonic() - start)
        progress.note(f"{stage.name}: done in {artifact.seconds:.1f} s ({artifact.folder.name})")
        warnings += self._data.warnings
        self._data.warnings.clear()
        return StageOutcome(artifact, made=True, warnings=tuple(warnings))

    def _job(self, stage: Stage, done: Mapping[str, Artifact], workspace: Workspace) -> Job:
        results = ((name, read_facts(name, done[name].facts)) for name in stage.needs)
        return Job(
            recipe=self.recipe,
            target=self.target,
            data=self._data,
            inputs={name: done[name].folder for name in stage.needs},
            facts={name: facts for name, facts in results if facts is not None},
            workspace=workspace,
        )

    def _ingredients(self, stage: Stage, done: Mapping[str, Artifact]) -> dict[str, Any]:
        """Return everything that the stage's result depends on."""
        ingredients: dict[str, Any] = {
            "stage": stage.name,
            "options": stage.options,
            "inputs": {name: key_of({"digest": done[name].digest, "facts": done[name].facts}) for name in stage.needs},
            "sources": _source_hashes(stage.sources),
            "code": code_hashes(*stage.modules),
            "libraries": library_versions(),
            "seed": self.recipe.seed,
        }
        if stage.splits:
            limits = {f"{split}_limit": getattr(self.recipe.data, f"{split}_limit") for split in stage.splits}
            ingredients["data"] = {"fingerprint": self._data.fingerprint, **limits}
        if stage.further:
            ingredients["further"] = {source: self._data.further(source).digest for source in stage.further}
        if stage.reads_machine:
            ingredients["machine"] = describe()
        return ingredients

    def _why(self, stage: Stage, ingredients: Mapping[str, Any]) -> str:
        """Return a sentence about what changed since the stage's newest artifact."""
        latest = self._store.latest(stage.name)
        if latest is None:
            return "not run before"
        before, now = dict(_flat(latest.ingredients)), dict(_flat(ingredients))
        changed = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
        reasons = [_change(key, before.get(key), now.get(key)) for key in changed]
        return "; ".join(dict.fromkeys(reasons[:3])) or "its artifact is missing"

    def _place_bundle(self, artifact: Artifact) -> None:
        """Put the bundle into the run folder, in one step."""
        place, aside = self.folder / "bundle", self.folder / ".bundle.part"
        with disk_errors(place):
            shutil.rmtree(aside, ignore_errors=True)
            shutil.copytree(artifact.folder / "bundle", aside)
            shutil.rmtree(place, ignore_errors=True)
            aside.rename(place)


def _device_name(target: Target) -> str:
    """Return what names the device of a target everywhere: its own address, or this machine's name, whatever the target."""
    return "".join(letter if letter.isalnum() else "-" for letter in target.device.host or socket.gethostname())


@cache
def library_versions() -> dict[str, str]:
    """Return the installed versions of edgeopt and of the libraries that decide results."""
    versions = {"edgeopt": __version__}
    for library in _LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return versions


def _source_hashes(paths: Sequence[Path]) -> dict[str, str]:
    """Return the SHA-256 of files and folders by name, or by path where two share a name.

    Raises:
        ModelError: there is no such file or folder.
    """
    names = [path.name for path in paths]
    hashes = {}
    for path, name in zip(paths, names, strict=True):
        if not path.exists():
            raise ModelError(f"{path}: no such model")
        hashes[name if names.count(name) == 1 else str(path)] = content_hash(path)
    return hashes


def _tokenizer_folder(recipe: Recipe, temporary: ExitStack) -> Path | None:
    """Return the folder of the teacher, or of the ONNX file, if it holds a tokenizer; a `temporary` one with virtual tokens."""
    folder = _teacher_folder(recipe) or (Path(recipe.model).parent if recipe.model else None)
    if folder is None or not (folder / "tokenizer.json").is_file():
        return None
    adapter = recipe.teacher.train.adapter if recipe.teacher and recipe.teacher.train else None
    if adapter is None or adapter.kind != "p-tuning":
        return folder
    from edgeopt.train.virtual_tokens import extend_tokenizer

    extended = temporary.enter_context(temporary_folder("edgeopt-tokenizer-"))
    extend_tokenizer(folder, extended, adapter.virtual_tokens)
    return extended


def _teacher_folder(recipe: Recipe) -> Path | None:
    return Path(recipe.teacher.source) if recipe.teacher and Path(recipe.teacher.source).is_dir() else None


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _change(key: str, before: Any, now: Any) -> str:
    """Return a sentence about what changed: an option with its values, anything hashed by its name."""
    kind, _, name = key.partition(".")
    match kind:
        case "options":
            return f"{name}: {'none' if before is None else before} → {'none' if now is None else now}"[:100]
        case "code":
            return f"edgeopt's code changed ({name})"
        case "inputs":
            return f"its input {name} changed"
        case "sources" | "further":
            return f"{name} changed"
        case _:
            return f"{key} changed"
