"""A search beside random search with the same time and int8 alone, on the text classifier.

    python -m benchmarks.search search|random|int8|recipe --work FOLDER [--seconds 3000] [--seed 0] [--set KEY=VALUE …]
    python -m benchmarks.search measure --work FOLDER [--also WAY=FILE.onnx …]     (wants a quiet machine: all files in turns)

Random search draws the units of every part (around a share of the model, which is drawn too), all of it in int8, and trains
each model in full; it ends with the first model after as many seconds of CPU as the search took, so that a busy machine favours
neither. All ways share a store, so that the teacher is loaded once, and choose by the development split; `measure` evaluates on
the test split, once. A way that is started again goes on; its seconds are added up in FOLDER/seconds.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from math import inf
from pathlib import Path

import numpy as np

from edgeopt.evaluate.stage import EvaluateConfig, evaluate
from edgeopt.graph.files import size_bytes
from edgeopt.models.load import load_model
from edgeopt.prune.latency.bench import bench
from edgeopt.prune.structure.anatomy import anatomy_of
from edgeopt.recipe import Recipe, load_recipe
from edgeopt.search.knobs import applied
from edgeopt.search.rounds import Rung, recipe_at
from edgeopt.search.search import SearchRequest, search
from edgeopt.search.trial import Spec, read_result
from edgeopt.search.workers import Task, Workers
from edgeopt.stages.pruned_files import Timing
from edgeopt.targets.target import load_target

_RECIPE = Path(__file__).with_name("sst2.toml")
_TURNS = 7
_SECONDS = "seconds.json"


@dataclass(frozen=True)
class Found:
    """A model that one of the ways found."""

    way: str
    name: str
    metric: float | None
    predicted_ms: float | None
    trained: str
    file: Path


def main() -> None:
    """Run one of the ways, or measure what all of them found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("search", "random", "int8", "recipe", "measure"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=3000.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[], dest="changes", help="keys of the recipe, such as prune.recovery=fit")
    parser.add_argument("--also", nargs="*", default=[], help="measure: files of other ways, such as recipe=FILE.onnx")
    arguments = parser.parse_args()
    recipe, work = load_recipe(str(_RECIPE), [f"seed={arguments.seed}", *arguments.changes]), arguments.work
    known = _seconds(work)
    if arguments.what == "measure":
        _measure(work, arguments.also)
    elif arguments.what == "search":
        print(json.dumps(asdict(search(SearchRequest(recipe, work, (), arguments.seconds))), indent=1))
    else:
        workers = Workers(1, time.monotonic() + arguments.seconds)
        tasks = {"random": _random_tasks, "int8": _int8_task, "recipe": _shipped_task}[arguments.what](recipe, work)
        for task in tasks:
            if workers.seconds_left <= 0 or known.get("random", 0.0) + _cpu_seconds() >= known.get("search", inf):
                break
            if read_result(task.folder / "result.json") is None:
                for _, result in workers.run([task]):
                    print(f"{task.folder.name}: {result.metric} {result.error}", flush=True)
    if arguments.what != "measure":
        spent = {**known, arguments.what: known.get(arguments.what, 0.0) + _cpu_seconds()}
        (work / _SECONDS).write_text(json.dumps(spent), encoding="utf-8")


def _seconds(work: Path) -> dict[str, float]:
    """Return the seconds of CPU that each way had so far."""
    path = work / _SECONDS
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _cpu_seconds() -> float:
    """Return the seconds of CPU of this process and of all trials that ended."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _task(recipe: Recipe, folder: Path, work: Path) -> Task:
    return Task(folder, Spec(recipe.model_dump(mode="json"), str(folder), str(work / "store")))


def _int8_task(recipe: Recipe, work: Path) -> Iterator[Task]:
    """Yield the whole model in int8."""
    yield _task(recipe_at(recipe, {"prune.macs": "off"}, Rung.FULL), work / "int8" / "whole", work)


def _shipped_task(recipe: Recipe, work: Path) -> Iterator[Task]:
    """Yield the shipped recipe, which distils and quantizes, with the data and the epochs that a candidate has."""
    assert recipe.prune is not None
    data = {f"data.{key}": getattr(recipe.data, key) for key in ("evaluation", "train_limit", "calibration_limit")}
    setting = data | {"target": recipe.target, "seed": recipe.seed, "distill.train.epochs": recipe.prune.train.epochs}
    made = applied(load_recipe("text-classification"), setting | {"profile.budget": []})
    yield _task(recipe_at(made, {}, Rung.FULL), work / "recipe" / "text-classification", work)


def _random_tasks(recipe: Recipe, work: Path) -> Iterator[Task]:
    """Yield random candidates, each trained in full."""
    assert recipe.teacher is not None
    parts = anatomy_of(load_model(recipe.teacher.source).module).parts
    for number in count():
        generator = np.random.default_rng([recipe.seed, number])
        shares = np.clip(generator.uniform(0.05, 1.0) + generator.normal(0, 0.15, len(parts)), 0, 1)
        units = {part.name: int(one * part.units + 0.5) for part, one in zip(parts, shares, strict=True)}
        yield _task(recipe_at(recipe, {"prune.units": units}, Rung.FULL), work / "random" / f"r{number:03d}", work)


def _found(work: Path) -> Iterator[Found]:
    """Yield what each of the ways found."""
    for way in ("int8", "recipe", "random"):
        for path in sorted((work / way).glob("*/result.json")):
            result = read_result(path)
            if result is not None and result.metric is not None:
                yield Found(way, path.parent.name, result.metric, None, "full", _file(path.parent / "bundle"))
    for point in json.loads((work / "front.json").read_text(encoding="utf-8"))["points"]:
        file = _file(work / point["bundle"])
        yield Found("search", point["name"], point["metric"], point["predicted_ms"], point["trained"], file)


def _file(bundle: Path) -> Path:
    return next(bundle.glob("*.onnx"))


def _measure(work: Path, also: Sequence[str]) -> None:
    """Time all models in turns, one thread, 64 tokens, evaluate them on the test split, and print a Markdown table."""
    found = [*_found(work), *(_named(item) for item in also)]
    recipe = load_recipe(str(_RECIPE))
    assert recipe.teacher is not None
    target = load_target(recipe.target)
    inputs = [Timing(target).inputs(one.file) for one in found]
    with bench(target) as made:
        turns = [[made.time_ms(one.file, given) for one, given in zip(found, inputs, strict=True)] for _ in range(_TURNS)]
    times = np.median(np.array(turns), axis=0)
    config = EvaluateConfig(task=recipe.teacher.task, tokenizer=Path(recipe.teacher.source))
    scores = evaluate([str(one.file) for one in found], "sst2", config=config, provider=target.provider).models
    heads = ("way", "model", "trained", "accuracy, dev", "accuracy, test", "ms", "ms, predicted", "MB")
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for one, ms, score in sorted(zip(found, times, scores, strict=True), key=lambda row: (row[0].way, row[1])):
        known = ["" if value is None else f"{value:.{digits}f}" for value, digits in ((one.metric, 4), (one.predicted_ms, 2))]
        measured = f"{score.value:.4f} | {ms:.2f} | {known[1]} | {size_bytes(one.file) / 1e6:.1f}"
        print(f"| {one.way} | {one.name} | {one.trained} | {known[0]} | {measured} |")
    print({way: round(seconds) for way, seconds in _seconds(work).items()}, "seconds of CPU")


def _named(text: str) -> Found:
    """Return the file that `--also` names."""
    way, _, path = text.partition("=")
    return Found(way, Path(path).parent.name, None, None, "", Path(path))


if __name__ == "__main__":
    main()
