"""A search beside random search with the same time and int8 alone, on the text classifier.

    python -m benchmarks.search search|random|int8 --work FOLDER [--seconds 570] [--seed 0] [--set KEY=VALUE …]
    python -m benchmarks.search measure --work FOLDER              (wants a quiet machine: all files in turns)

Random search draws the units of every part (around a share of the model, which is drawn too), all of it in int8, and trains
each model in full. All ways share a store, so that the teacher is loaded once. A way that is started again goes on; how many
seconds it had is added up in FOLDER/seconds.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import numpy as np

from edgeopt.graph.files import size_bytes
from edgeopt.models.load import load_model
from edgeopt.prune.latency.bench import bench
from edgeopt.prune.structure.anatomy import anatomy_of
from edgeopt.recipe import Recipe, load_recipe
from edgeopt.search.rounds import Rung, recipe_at
from edgeopt.search.search import SearchRequest, search
from edgeopt.search.trial import Spec, read_result
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
    """Run one of the ways, or measure what all of them found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("search", "random", "int8", "measure"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=570.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[], dest="changes", help="keys of the recipe, such as prune.recovery=fit")
    arguments = parser.parse_args()
    recipe, work = load_recipe(str(_RECIPE), [f"seed={arguments.seed}", *arguments.changes]), arguments.work
    began = time.monotonic()
    if arguments.what == "measure":
        _measure(work)
        return
    if arguments.what == "search":
        print(json.dumps(asdict(search(SearchRequest(recipe, work, (), arguments.seconds))), indent=1))
    else:
        workers = Workers(1, began + arguments.seconds)
        tasks = _random_tasks(recipe, work, arguments.seed) if arguments.what == "random" else iter([_int8_task(recipe, work)])
        for task in tasks:
            if read_result(task.folder / "result.json") is None:
                for _, result in workers.run([task]):
                    print(f"{task.folder.name}: {result.metric} {result.error}", flush=True)
            if workers.seconds_left <= 0:
                break
    _add_seconds(work / "seconds.json", arguments.what, time.monotonic() - began)


def _add_seconds(path: Path, way: str, seconds: float) -> None:
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps({**known, way: known.get(way, 0.0) + seconds}), encoding="utf-8")


def _task(recipe: Recipe, folder: Path, work: Path) -> Task:
    return Task(folder, Spec(recipe.model_dump(mode="json"), str(folder), str(work / "store")))


def _int8_task(recipe: Recipe, work: Path) -> Task:
    return _task(recipe_at(recipe, {"prune.macs": "off"}, Rung.FULL), work / "int8" / "whole", work)


def _random_tasks(recipe: Recipe, work: Path, seed: int) -> Iterator[Task]:
    """Yield random candidates, each trained in full."""
    assert recipe.teacher is not None
    parts = anatomy_of(load_model(recipe.teacher.source).module).parts
    for number in count():
        generator = np.random.default_rng([seed, number])
        shares = np.clip(generator.uniform(0.05, 1.0) + generator.normal(0, 0.15, len(parts)), 0, 1)
        units = {part.name: int(one * part.units + 0.5) for part, one in zip(parts, shares, strict=True)}
        yield _task(recipe_at(recipe, {"prune.units": units}, Rung.FULL), work / "random" / f"r{number:03d}", work)


def _found(work: Path) -> Iterator[Found]:
    """Yield what each of the ways found."""
    for way in ("int8", "random"):
        for path in sorted((work / way).glob("*/result.json")):
            result = read_result(path)
            if result is not None and result.metric is not None:
                yield Found(way, path.parent.name, result.metric, None, "full", str(path.parent / "bundle"))
    for point in json.loads((work / "front.json").read_text(encoding="utf-8"))["points"]:
        bundle = str(work / point["bundle"])
        yield Found("search", point["name"], point["metric"], point["predicted_ms"], point["trained"], bundle)


def _measure(work: Path) -> None:
    """Time all models in turns, one thread, 64 tokens, and print a Markdown table."""
    found = list(_found(work))
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
