"""`search`: rounds of candidates, each taken as far as it earns, and the front of what was trained.

    propose → (untrained: time, size) → within budgets? → short training → on the front? → full training → measured alone

Transformers are proposed by dynamic programming over a table of what their parts cost (`proposals`), so that nothing is run
before the short training; other candidates are measured untrained first.

Everything shared is computed once: all candidates keep their artifacts in one content-addressed store, so the teacher is
trained once and a candidate's later rung finds what its earlier ones made. A search that is run again resumes where it stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeopt import progress
from edgeopt.errors import InternalError, MachineError, RecipeError
from edgeopt.files import disk_errors, write_aside
from edgeopt.recipe import Recipe
from edgeopt.search.advice import advice, beyond
from edgeopt.search.budgets import missed, read_budgets
from edgeopt.search.front import Front, Point, dominates, front_of, write_front
from edgeopt.search.knobs import knobs_of
from edgeopt.search.proposals import Proposal, propose
from edgeopt.search.ray_workers import RayWorkers
from edgeopt.search.rounds import Rung, is_trained, recipe_at
from edgeopt.search.study import Beginning, Candidate, Study
from edgeopt.search.trial import Spec, TrialResult, read_forecast
from edgeopt.search.tried import Tried, earlier_result
from edgeopt.search.workers import Task, Workers
from edgeopt.targets.target import load_target
from edgeopt.verdict.budget import Budget

_EXPLORE_SHARE = 0.7
"""Of the time, before a short training says how long a full one takes: the rest is for training in full and measuring."""
_LEAST_SHARE = 0.4
"""Of the time is explored, even where full trainings need more than the rest."""
_FINAL_S = 15.0
"""A final measurement takes this much longer than `[profile]` says."""
_FAILURES = 3
"""In a row, before any candidate was measured: then it is not the candidates."""


@dataclass(frozen=True)
class SearchRequest:
    """What to search, under which budgets, for how long and where."""

    recipe: Recipe
    folder: Path
    budgets: tuple[str, ...] = ()
    seconds: float = 3600.0
    workers: int = 1
    storage: str | None = None
    ray: str | None = None
    """Address of a Ray cluster whose machines share the folder; none: this machine."""
    targets: tuple[str, ...] = ()
    """Several targets that one model is for; none: the recipe's."""


def search(request: SearchRequest) -> Front:
    """Search, write `front.json` and `front.html` into the folder, and return the front.

    Raises:
        RecipeError: the recipe has nothing to vary, or a language model, a knob does not exist in it, or budgets contradict
            each other.
        MachineError: the storage cannot be reached, the disk is full, or no candidate could be measured.
    """
    with disk_errors(request.folder):
        return _Search(request).run()


class _TimeIsOverError(Exception):
    """The time ended before there was a candidate."""


class _Search:
    def __init__(self, request: SearchRequest) -> None:
        self._request, self._recipe = request, request.recipe
        self._options = request.recipe.search
        self._budgets: tuple[Budget, ...] = read_budgets(request.budgets)
        self._targets = request.targets or (request.recipe.target,)
        _check(request, self._budgets, self._targets)
        self._knobs = knobs_of(request.recipe)
        self._began = time.monotonic()
        self._workers = self._until(request.seconds)
        self._explorers = self._until(_EXPLORE_SHARE * request.seconds)
        self._tried: dict[int, Tried] = {}
        self._failed: dict[str, str] = {}
        self._unfinished: set[str] = set()

    def _until(self, seconds: float) -> Workers | RayWorkers:
        """Return workers that end this many seconds after the beginning."""
        request = self._request
        if request.ray is not None:
            return RayWorkers(request.ray, request.workers, self._began + seconds)
        return Workers(request.workers, self._began + seconds)

    def run(self) -> Front:
        try:
            self._study = self._opened_study()
        except _TimeIsOverError:
            return self._written([])
        self._restore()
        with progress.task("search", total=self._options.rounds) as advance:
            for number in range(self._options.rounds):
                proposed = self._study.propose(self._options.candidates) if self._explorers.seconds_left > 0 else []
                if not proposed:
                    break
                self._explore(number, [self._tried.setdefault(item.number, Tried(item)) for item in proposed])
                advance()
        self._take([item for item in self._chosen() if Rung.FULL not in item.results], Rung.FULL, self._workers)
        for item in self._on_front(self._finished()):
            if Rung.FINAL not in item.results:
                self._take([item], Rung.FINAL, self._workers)
        return self._written(self._finished())

    # the beginning

    def _opened_study(self) -> Study:
        request = self._request
        beginning = None
        if self._recipe.prune is not None and not self._options.knobs:
            recipe = self._recipe.model_dump(mode="json", exclude={"search"})
            beginning = Beginning(self._proposals, self._options.candidates, [recipe, request.budgets, self._targets])
        return Study(self._knobs, request.storage, request.folder, seed=self._recipe.seed, beginning=beginning)

    def _proposals(self) -> Sequence[Proposal]:
        """Return what the dynamic programme proposes; nothing where the parts of the model cannot be told apart.

        Raises:
            MachineError: the parts could not be measured.
            RecipeError: there is nothing else to vary.
        """
        tasks = [self._forecast_task(target) for target in self._targets]
        with progress.task("latency tables and errors of all parts", total=len(tasks)) as advance:
            for place, result in self._explorers.run(tasks):
                advance()
                if result.unfinished:
                    raise _TimeIsOverError
                if result.error:
                    raise MachineError(f"the parts of the model on {self._targets[place]}: {result.error}")
        forecasts = {target: read_forecast(task.folder) for target, task in zip(self._targets, tasks, strict=True)}
        reason = next((one.reason for one in forecasts.values() if not one.parts), "")
        if not reason:
            exclude = self._recipe.quantize.exclude
            return propose(forecasts, self._budgets, count=self._options.candidates, exclude=exclude)
        progress.note(f"no candidates are predicted: {reason}")
        if not self._knobs:
            raise RecipeError(f"nothing in this recipe can be varied: {reason}")
        return ()

    def _forecast_task(self, target: str) -> Task:
        recipe = recipe_at(self._recipe, {}, Rung.UNTRAINED, target=target)
        folder = self._request.folder / "forecasts" / _file_name(target)
        spec = Spec(recipe.model_dump(mode="json"), str(folder), str(self._request.folder / "store"), forecast=True)
        return Task(folder, spec)

    def _restore(self) -> None:
        """Take up what an earlier run of this search measured."""
        for candidate in self._study.tried():
            item = Tried(candidate)
            for rung in Rung:
                for target in self._targets:
                    if rung == Rung.FINAL and not item.results:
                        continue
                    result = earlier_result(self._task(item, rung, target))
                    if result is not None and not result.error and not result.unfinished:
                        item.take(rung, target, result, of=len(self._targets))
            if item.results:
                self._tried[candidate.number] = item
        if self._tried:
            progress.note(f"{len(self._tried)} candidates are known from before")

    # rounds

    def _explore(self, number: int, items: list[Tried]) -> None:
        """Measure a round's candidates untrained where nothing is predicted, and train those that can keep the budgets."""
        new = [item for item in items if item.candidate.proposal is None or not is_trained(self._recipe)]
        self._take(new, Rung.UNTRAINED, self._explorers)
        known = [item for item in items if item not in new or Rung.UNTRAINED in item.results]
        fitting = [item for item in known if not self._misses(item, Rung.UNTRAINED)]
        progress.note(f"round {number + 1}: {len(fitting)} of {len(known)} candidates can keep the budgets")
        if not fitting:  # the best that can be had
            fitting = [item for item in known if item not in new]
        for item in known:
            if item not in fitting and item.results:
                self._report(item, Rung.UNTRAINED)
            elif item not in fitting:
                self._study.fail(item.candidate, f"predicted to miss {'; '.join(self._misses(item, Rung.UNTRAINED))}")
        if is_trained(self._recipe):
            self._take(fitting, Rung.SHORT, self._explorers)
        for item in fitting:
            if item.results:
                self._report(item, Rung.SHORT if Rung.SHORT in item.results else Rung.UNTRAINED)

    def _take(self, items: Sequence[Tried], rung: Rung, workers: Workers | RayWorkers) -> None:
        """Run candidates at a rung, on every target; a candidate that fails on one has failed."""
        places = [(item, target) for item in items for target in self._targets]
        tasks = [self._task(item, rung, target) for item, target in places]
        with progress.task(f"candidates, {rung}", total=len(tasks)) as advance:
            for place, result in workers.run(tasks):
                item, target = places[place]
                advance()
                if result.unfinished:
                    self._unfinished.add(item.candidate.name)
                elif result.error:
                    self._note_failure(item.candidate, rung, result)
                else:
                    item.take(rung, target, result, of=len(self._targets))
                    self._plan_end()

    def _plan_end(self) -> None:
        """Leave as much time as the full trainings and final measurements need, by what the short trainings took."""
        short = max(
            (item.results[Rung.SHORT].seconds for item in self._tried.values() if Rung.SHORT in item.results), default=0.0
        )
        if not short:
            return
        profile = self._recipe.profile
        each = _FINAL_S + (profile.seconds if profile else 0.0)
        waves = math.ceil(self._options.keep * len(self._targets) / self._request.workers)
        left = waves * short / self._options.short + self._options.keep * each
        self._explorers.deadline = self._began + max(_LEAST_SHARE * self._request.seconds, self._request.seconds - left)

    def _task(self, item: Tried, rung: Rung, target: str) -> Task:
        trained = item.trained if rung == Rung.FINAL else Rung.FULL
        recipe = recipe_at(self._recipe, item.candidate.setting, rung, target=target, trained=trained)
        folder = self._folder(item.candidate, target, rung)
        spec = Spec(recipe.model_dump(mode="json"), str(folder), str(self._request.folder / "store"))
        return Task(folder, spec)

    def _folder(self, candidate: Candidate, target: str, rung: Rung) -> Path:
        name = candidate.name if len(self._targets) == 1 else f"{candidate.name}-{_file_name(target)}"
        return self._request.folder / "candidates" / name / rung

    def _note_failure(self, candidate: Candidate, rung: Rung, result: TrialResult) -> None:
        if result.fatal:
            raise MachineError(f"{candidate.name}, {rung}: {result.error}")
        self._failed[candidate.name] = f"{rung}: {result.error}"
        progress.note(f"{candidate.name}: {result.error}")
        if len(self._failed) >= _FAILURES and not any(item.results for item in self._tried.values()):
            raise MachineError(f"the first {_FAILURES} candidates failed, the last with: {result.error}")
        if self._workers.seconds_left > 0:
            self._study.fail(candidate, result.error)

    def _misses(self, item: Tried, rung: Rung) -> list[str]:
        """Return the budgets that a candidate misses; before training the metric does not count, and times have some room."""
        if rung in item.results:
            figures = dict(item.results[rung].figures)
        else:
            figures = dict(item.candidate.proposal.figures) if item.candidate.proposal else {}
        early = rung in {Rung.UNTRAINED, Rung.SHORT}
        if early:
            figures.pop("accuracy_drop", None)
        return missed(self._budgets, figures, tolerance=self._options.tolerance if early else 0.0)

    def _report(self, item: Tried, rung: Rung) -> None:
        result = item.results[rung]
        if result.rank is None:
            raise InternalError("a candidate without a metric")
        over = max((beyond(budget, result.figures) for budget in self._budgets), default=0.0)
        self._study.report(item.candidate, result.rank, result.figures, over)

    # what is best

    def _chosen(self) -> list[Tried]:
        """Return the candidates to train in full: those on the front so far, best metric first."""
        rung = Rung.SHORT if any(Rung.SHORT in item.results for item in self._tried.values()) else Rung.UNTRAINED
        known = [item for item in self._tried.values() if rung in item.results]
        fitting = [item for item in known if not self._misses(item, rung)]
        return self._best(fitting or known, rung)[: self._options.keep]

    def _best(self, items: Sequence[Tried], rung: Rung) -> list[Tried]:
        points = {item.candidate.number: self._point(item, rung) for item in items}
        kept = [item for item in items if not any(dominates(other, points[item.candidate.number]) for other in points.values())]
        return sorted(kept, key=lambda item: -points[item.candidate.number].rank)

    def _finished(self) -> list[Tried]:
        """Return the candidates that can be points: those that were trained, as far as the time allowed."""
        known = [item for item in self._tried.values() if item.results]
        if is_trained(self._recipe):
            trained = [item for item in known if item.trained != Rung.UNTRAINED]
            return trained or known
        return [item for item in known if item.trained == Rung.FULL] or known

    def _on_front(self, items: Sequence[Tried]) -> list[Tried]:
        points = {item.candidate.name: self._point(item, item.measured) for item in items}
        keeping = [point for point in points.values() if not point.missed]
        names = [point.name for point in front_of(keeping or list(points.values()))]
        return [item for name in names for item in items if item.candidate.name == name]

    def _written(self, finished: Sequence[Tried]) -> Front:
        """Write the front, and recipes of its points."""
        best = self._on_front(finished)
        points = [self._point(item, item.measured) for item in best]
        for item in best:
            self._write_recipe(item)
        kept = not self._budgets or any(not point.missed for point in points)
        seen = [dict(item.best.figures) for item in self._tried.values() if item.results]
        front = Front(
            next((item.best.metric_name for item in best), "metric"),
            tuple(points),
            tuple(self._request.budgets),
            kept and bool(points),
            "" if kept and points else advice(self._budgets, seen),
            len(self._tried),
            sum(item.trained == Rung.FULL for item in self._tried.values() if item.results),
            round(time.monotonic() - self._began, 1),
            self._failed,
            tuple(sorted(self._unfinished)),
        )
        write_front(front, self._request.folder)
        return front

    def _point(self, item: Tried, rung: Rung) -> Point:
        result, first, proposal = item.results[rung], item.results.get(Rung.UNTRAINED), item.candidate.proposal
        short = item.results.get(Rung.SHORT)
        name, target = item.candidate.name, self._targets[0]
        folder = self._folder(item.candidate, target, rung).relative_to(self._request.folder)
        predicted = proposal.figures if proposal else first.figures if first else {}
        return Point(
            name=name,
            metric=result.metric if result.metric is not None else 0.0,
            merit=result.merit,
            p50_ms=result.figures.get("p50_ms"),
            p95_ms=result.figures.get("p95_ms"),
            size_bytes=result.figures.get("size_bytes"),
            accuracy_drop=result.figures.get("accuracy_drop"),
            recipe=f"recipes/{name}.toml",
            bundle=f"{folder}/bundle",
            setting=dict(item.candidate.setting),
            trained=item.trained,
            predicted_ms=predicted.get("p50_ms"),
            predicted_size_bytes=predicted.get("size_bytes"),
            predicted_metric=short.metric if short else None,
            predicted_error=proposal.error if proposal else None,
            missed=tuple(missed(self._budgets, result.figures)),
            targets={name: dict(found.figures) for name, found in item.targets.get(rung, {}).items()}
            if len(self._targets) > 1
            else {},
        )

    def _write_recipe(self, item: Tried) -> None:
        """Write the recipe that makes a candidate again with `edgeopt run`."""
        path = self._request.folder / "recipes" / f"{item.candidate.name}.toml"
        target = self._request.targets[0] if self._request.targets else None
        recipe = recipe_at(self._recipe, item.candidate.setting, Rung.FINAL, target=target, trained=item.trained)
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_aside(path) as aside:
            aside.write_text(recipe.to_toml(), encoding="utf-8")


def _check(request: SearchRequest, budgets: Sequence[Budget], targets: Sequence[str]) -> None:
    """Refuse what no search can run with, before anything is run.

    Raises:
        RecipeError: the recipe does not measure what a search needs, there are no workers, the folder is a file, or a target
            does not exist.
    """
    if request.recipe.language is not None:
        raise RecipeError("[language]: a search does not measure generation; compare language models with edgeopt run")
    if request.recipe.profile is False and any(budget.metric.endswith("_ms") for budget in budgets):
        raise RecipeError("profile = false: the recipe measures no time; leave budgets on time out")
    if request.workers < 1:
        raise RecipeError(f"--workers {request.workers}: give 1 or more")
    if request.folder.exists() and not request.folder.is_dir():
        raise RecipeError(f"--out {request.folder}: is a file; name a folder")
    for target in targets:
        load_target(target)


def _file_name(target: str) -> str:
    """Return a target's name, or the path of its file, as the name of a folder."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in target)
