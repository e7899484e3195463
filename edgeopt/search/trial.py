"""One candidate: a recipe run in a process of its own, with the artifacts that all candidates share.

    python -m edgeopt.search.trial SPEC.json        writes RESULT.json beside it

A process of its own can be ended at any moment: what its stages finished is in the store, and is not done again.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from edgeopt.errors import DiskFullError, EdgeoptError, InternalError, MachineError
from edgeopt.evaluate.result import VerifyFacts
from edgeopt.files import write_json
from edgeopt.pipeline import Pipeline, RunResult
from edgeopt.profile.result import ProfileResult
from edgeopt.prune.allocation.forecast import Forecast
from edgeopt.recipe import Recipe
from edgeopt.roles import Role
from edgeopt.stages.order import forecast_stage
from edgeopt.stages.results import read_facts

FORECAST = "forecast.json"


@dataclass(frozen=True)
class Spec:
    """What to run, and where."""

    recipe: dict[str, Any]
    folder: str
    """Of this candidate."""
    artifacts: str
    """Of the whole search."""
    forecast: bool = False
    """Find out what the parts of the model that is pruned cost, and run nothing else; written to FORECAST in the folder."""


@dataclass(frozen=True)
class TrialResult:
    """What was measured of a candidate, or why it failed."""

    figures: dict[str, float]
    metric: float | None = None
    metric_name: str = ""
    error: str = ""
    unfinished: bool = False
    """The time was over before the trial was."""
    fatal: bool = False
    """The error is not this candidate's: the disk is full, a file is damaged, edgeopt has a bug."""
    seconds: float = 0.0
    """How long it took."""
    merit: float | None = None
    """The metric as a number that is larger for a better model; None: it is one itself."""

    @property
    def rank(self) -> float | None:
        """What candidates are ordered by, larger is better; None: there is no metric."""
        return self.metric if self.merit is None else self.merit


def main(argument: str) -> int:
    """Run the candidate described in the file `argument`, and write its result beside it; return 0."""
    path = Path(argument)
    spec = TypeAdapter(Spec).validate_json(path.read_bytes())
    write_json(path.with_name("result.json"), asdict(run_trial(spec)))
    return 0


def run_trial(spec: Spec) -> TrialResult:
    """Run a candidate's recipe, or a forecast, and return its figures."""
    began = time.monotonic()
    try:
        recipe = Recipe.read(spec.recipe, where="trial")
        pipeline = Pipeline(recipe, Path(spec.folder), artifacts=Path(spec.artifacts))
        if spec.forecast:
            write_json(Path(spec.folder) / FORECAST, pipeline.make(forecast_stage(recipe, pipeline.target)).facts)
            return TrialResult({}, seconds=time.monotonic() - began)
        return replace(figures_of(pipeline.run()), seconds=time.monotonic() - began)
    except EdgeoptError as error:
        fatal = isinstance(error, DiskFullError) or error.exit_code != MachineError.exit_code
        return TrialResult({}, error=str(error), fatal=fatal)


def figures_of(result: RunResult) -> TrialResult:
    """Return what a search needs of a run: the metric, the drop from the first model, time and size of the quantized model."""
    facts = {outcome.artifact.stage: read_facts(outcome.artifact.stage, outcome.artifact.facts) for outcome in result.outcomes}
    verify, profile = facts.get("verify"), facts.get("profile")
    if not isinstance(verify, VerifyFacts):
        raise InternalError("a run without a verify stage")
    figures: dict[str, float] = {}
    final = next(variant for variant in verify.variants if variant.role == Role.QUANTIZED)
    first = verify.variants[0]
    if final.accuracy is not None and first.accuracy is not None:
        figures["accuracy_drop"] = verify.kind.points_lost(first.accuracy, final.accuracy)
    if final.size_bytes is not None:
        figures["size_bytes"] = float(final.size_bytes)
    if isinstance(profile, ProfileResult):
        figures |= {f"{name}_ms": value for name, value in _latency(profile, final.name).items()}
    if final.accuracy is None:
        return TrialResult(figures, final.agreement, "agreement with the first model")
    return TrialResult(figures, final.accuracy, verify.metric, merit=verify.kind.merit(final.accuracy))


def _latency(profile: ProfileResult, name: str) -> Mapping[str, float]:
    """Return the quantiles of the model's latency; with few runs the 95th percentile is estimated from the samples."""
    variant = next(item for item in profile.variants if item.name == name)
    found = {item.statistic: item.value_ms for item in variant.latency}
    samples = sorted(variant.samples_ms)
    for statistic, share in (("p50", 0.5), ("p95", 0.95)):
        if statistic not in found and samples:
            found[statistic] = samples[min(len(samples) - 1, int(share * len(samples)))]
    return {name: found[name] for name in ("p50", "p95") if name in found}


def read_forecast(folder: Path) -> Forecast:
    """Return the forecast that a trial wrote into `folder`."""
    facts = read_facts("forecast", json.loads((folder / FORECAST).read_text(encoding="utf-8")))
    if not isinstance(facts, Forecast):
        raise InternalError("a forecast that is none")
    return facts


def read_result(path: Path) -> TrialResult | None:
    """Return the result that a trial wrote to `path`; None: it was ended before, or the file is damaged."""
    try:
        return TypeAdapter(TrialResult).validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def write_spec(path: Path, spec: Spec) -> None:
    """Write what a trial is to run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, json.loads(json.dumps(asdict(spec))))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
