"""A search beside random search with the same time and int8 alone, on the text classifier.

    python -m benchmarks.search run --work FOLDER [--seconds 570] [--seed 0]     (needs EDGEOPT_DATA; takes twice SECONDS)
    python -m benchmarks.search measure --work FOLDER                            (wants a quiet machine: all files in turns)

Random search draws the units of every part (around a share of the model, which is drawn too), all of it in int8, and trains
each model in full. Both share a store, so that the teacher is loaded once; what either finished is not done again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edgeopt.graph.files import size_bytes
from edgeopt.models.load import load_model
from edgeopt.prune.latency.bench import bench
from edgeopt.prune.structure.anatomy import anatomy_of
from edgeopt.recipe import Recipe, load_recipe
from edgeopt.search.rounds import Rung, recipe_at
from edgeopt.search.search import SearchRequest, search
from edgeopt.search.trial import Spec
from edgeopt.search.workers import Task, Workers
from edgeopt.stages.pruned_files import Timing
from edgeopt.targets.target import load_target

_RECIPE = Path(__file__).with_name("sst2.toml")
_TURNS = 7


@dataclass(frozen=True)
class Found:
    """A model that one of the ways found."""

    way: str
    name: str
    metric: float
    predicted_ms: float | None
    trained: str
    bundle: str


def main() -> None:
    """Run both searches, or measure what they found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "measure"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=570.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    recipe = load_recipe(str(_RECIPE), [f"seed={arguments.seed}"])
    if arguments.what == "measure":
        _measure(arguments.work)
        return
    found = [_int8_alone(recipe, arguments.work)]
    found += _searched(recipe, arguments.work, arguments.seconds)
    found += _random(recipe, arguments.work, arguments.seconds, arguments.seed)
    (arguments.work / "found.json").write_text(json.dumps([asdict(one) for one in found], indent=1), encoding="utf-8")


def _run(recipe: Recipe, folder: Path, store: Path, workers: Workers) -> tuple[float, str]:
    """Run a recipe as a trial; return the metric and what went wrong, if anything."""
    ((_, result),) = workers.run([Task(folder, Spec(recipe.model_dump(mode="json"), str(folder), str(store)))])
    return result.metric or 0.0, result.error or ("the time was over" if result.unfinished else "")


def _int8_alone(recipe: Recipe, work: Path) -> Found:
    folder = work / "int8"
    metric, error = _run(
        recipe_at(recipe, {"prune.macs": "off"}, Rung.FULL), folder, work / "store", Workers(1, time.monotonic() + 600)
    )
    print(f"int8 alone: {metric:.4f} {error}", flush=True)
    return Found("int8 alone", "whole", metric, None, "–", str(folder / "bundle"))


def _searched(recipe: Recipe, work: Path, seconds: float) -> list[Found]:
    front = search(SearchRequest(recipe, work, (), seconds))
    print(json.dumps(asdict(front), indent=1), flush=True)
    return [
        Found("search", point.name, point.metric, point.predicted_ms, point.trained, str(work / point.bundle))
        for point in front.points
    ]


def _random(recipe: Recipe, work: Path, seconds: float, seed: int) -> Iterator[Found]:
    """Yield random candidates, each trained in full, until the time is over."""
    assert recipe.teacher is not None
    parts = anatomy_of(load_model(recipe.teacher.source).module).parts
    generator = np.random.default_rng(seed)
    workers = Workers(1, time.monotonic() + seconds)
    number = 0
    while workers.seconds_left > 0:
        share = generator.uniform(0.05, 1.0)
        shares = np.clip(share + generator.normal(0, 0.15, len(parts)), 0, 1)
        units = {part.name: int(one * part.units + 0.5) for part, one in zip(parts, shares, strict=True)}
        folder = work / "random" / f"r{number:03d}"
        made = recipe_at(recipe, {"prune.units": units}, Rung.FULL)
        metric, error = _run(made, folder, work / "store", workers)
        print(f"random {number}: share {share:.2f}, {metric:.4f} {error}", flush=True)
        if not error:
            yield Found("random", f"r{number:03d}", metric, None, "full", str(folder / "bundle"))
        number += 1


def _measure(work: Path) -> None:
    """Time all models in turns, one thread, 64 tokens, and print a Markdown table."""
    found = [Found(**one) for one in json.loads((work / "found.json").read_text(encoding="utf-8"))]
    target = load_target(load_recipe(str(_RECIPE)).target)
    files = [next(Path(one.bundle).glob("*.onnx")) for one in found]
    inputs = [Timing(target).inputs(file) for file in files]
    with bench(target) as made:
        turns = [[made.time_ms(*one) for one in zip(files, inputs, strict=True)] for _ in range(_TURNS)]
    times = np.median(np.array(turns), axis=0)
    print("| way | model | trained | accuracy | ms, measured | ms, predicted | MB |\n|---|---|---|---|---|---|---|")
    for one, ms, file in sorted(zip(found, times, files, strict=True), key=lambda row: (row[0].way, row[1])):
        predicted = "" if one.predicted_ms is None else f"{one.predicted_ms:.2f}"
        cells = (one.way, one.name, one.trained, f"{one.metric:.4f}", f"{ms:.2f}", predicted, f"{size_bytes(file) / 1e6:.1f}")
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
