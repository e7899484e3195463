from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import numpy as np
import onnx
import pytest
import tomli_w

from edgeopt import lifetime
from edgeopt.errors import EdgeoptError, MachineError, RecipeError
from edgeopt.files import write_json
from edgeopt.pipeline import Pipeline
from edgeopt.prune.allocation.forecast import Forecast, PartForecast, Version
from edgeopt.recipe import Recipe, load_recipe
from edgeopt.search import search as module
from edgeopt.search.search import SearchRequest, search
from edgeopt.search.trial import FORECAST, TrialResult, write_spec
from edgeopt.search.workers import Task
from edgeopt.stages.results import write_facts

_TINY = str(Path(__file__).parent.parent / "tiny_recipe.toml")
Measure = Callable[[Recipe], TrialResult]


class FakeWorkers:
    """Workers that measure a recipe by a function; the time is over after this many trials."""

    measure: Measure
    forecast = Forecast(reason="the model that is pruned is no transformer")
    trials_left = 10_000
    ran: list[tuple[str, Recipe]]

    def __init__(self, count: int, deadline: float) -> None:
        self.count, self.deadline = count, deadline

    @property
    def seconds_left(self) -> float:
        return min(self.deadline - time.monotonic(), type(self).trials_left)

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, TrialResult]]:
        for place, task in enumerate(tasks):
            if task.spec.forecast:
                write_json(Path(task.spec.folder) / FORECAST, write_facts("forecast", type(self).forecast))
                yield place, TrialResult({})
                continue
            if type(self).trials_left <= 0:
                yield place, TrialResult({}, unfinished=True)
                continue
            type(self).trials_left -= 1
            recipe = Recipe.read(task.spec.recipe, where="test")
            type(self).ran.append((task.folder.name, recipe))
            result = type(self).measure(recipe)
            write_spec(task.folder / "spec.json", task.spec)
            write_json(task.folder / "result.json", asdict(result))
            yield place, result


def _model(recipe: Recipe) -> TrialResult:
    """Return a model whose time follows its width and what pruning left; its metric grows with both, and with training."""
    assert recipe.distill is not None
    width = float(recipe.distill.arguments["width"]) / 32
    left = recipe.prune.macs if recipe.prune else 1.0
    trained = min(recipe.distill.train.epochs, 2.0) / 2.0
    cost = width * left * (0.8 if recipe.quantize.scheme == "static" else 1.0)
    figures = {"p50_ms": 10 * cost, "p95_ms": 12 * cost, "size_bytes": 1e6 * width * left, "accuracy_drop": 10 * (1 - cost)}
    return TrialResult(figures, 0.5 + 0.4 * trained * cost**0.5, "accuracy")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeWorkers]:
    kind = type("Fake", (FakeWorkers,), {"measure": staticmethod(_model), "ran": [], "trials_left": 10_000})
    monkeypatch.setattr(module, "Workers", kind)
    return kind


def _request(folder: Path, *budgets: str, **more: Any) -> SearchRequest:
    recipe = load_recipe(_TINY, ["distill.arguments.width=32", "search.candidates=6", "search.keep=4"])
    return SearchRequest(recipe, folder, budgets, 600.0, **more)


def _forecast(*, int8_error: float = 0.001) -> Forecast:
    """Return what is known of six parts: the later, the more it matters; int8 takes half of fp32's time."""

    def version(units: int, weight: float) -> Version:
        return Version(units, weight * (1 - units / 16) ** 2, {"fp32": units / 8, "int8": units / 16})

    parts = {
        f"layer.{place}": PartForecast(
            tuple(version(units, 1.0 + place) for units in range(0, 17, 2)), 1000.0, int8_error, (f"layer.{place}.out/Gemm",)
        )
        for place in range(6)
    }
    return Forecast(parts, {"fp32": 1.0, "int8": 0.5}, {"fp32": 13.0, "int8": 6.5}, 200_000.0, {"fp32": 0.02, "int8": 0.03})


def _pruned(recipe: Recipe) -> TrialResult:
    """Return a model whose parts have the units of the recipe: a little slower and larger than predicted."""
    units = recipe.prune.units if recipe.prune else {}
    left = {name: units.get(name, 16) for name in _forecast().parts}
    cut = sum((1.0 + place) * (1 - units / 16) ** 2 for place, units in enumerate(left.values()))
    ms = 1.02 * (0.5 + sum(left.values()) / 16)
    size = 200_000.0 - 1000 * (96 - sum(left.values()))
    trained = min(recipe.prune.train.epochs, 1.0) if recipe.prune else 1.0
    return TrialResult(
        {"p50_ms": ms, "p95_ms": 1.1 * ms, "size_bytes": size}, 0.9 - 0.01 * cut / trained, "accuracy", seconds=9.0
    )


def test_candidates_of_a_transformer_are_proposed_without_being_run(tmp_path: Path, fake: type[FakeWorkers]) -> None:
    fake.forecast, fake.measure = _forecast(), staticmethod(_pruned)
    front = search(_request(tmp_path, "p50_ms<=4"))
    rungs = [rung for rung, _ in fake.ran]
    assert "untrained" not in rungs and rungs.count("short") >= 6 > rungs.count("full") > 0
    assert front.feasible and all(point.p50_ms is not None and point.p50_ms <= 4 for point in front.points)
    for point in front.points:
        assert (
            point.predicted_ms == pytest.approx((point.p50_ms or 0) / 1.02) and point.predicted_size_bytes == point.size_bytes
        )
        assert point.predicted_error is not None and point.setting["quantize.exclude"] == []
        assert _pruned(load_recipe(str(tmp_path / point.recipe))).figures["p50_ms"] == point.p50_ms


def test_proposals_that_are_predicted_beyond_a_budget_are_not_trained(tmp_path: Path, fake: type[FakeWorkers]) -> None:
    fake.forecast, fake.measure = _forecast(), staticmethod(_pruned)
    request = _request(tmp_path, "size_kb>=170")  # a lower limit, which the programme does not know
    front = search(replace(request, recipe=load_recipe(_TINY, ["search.candidates=6", "search.rounds=1"])))
    assert front.feasible and front.points
    for rung, recipe in fake.ran:
        assert _pruned(recipe).figures["size_bytes"] >= 170_000, rung


def test_what_an_earlier_run_measured_counts_when_the_search_is_run_again(tmp_path: Path, fake: type[FakeWorkers]) -> None:
    fake.forecast, fake.measure = _forecast(), staticmethod(_pruned)
    first = search(_request(tmp_path, "p50_ms<=4"))
    ran = len(fake.ran)
    fake.trials_left = 0  # there is no time for anything new
    again = search(_request(tmp_path, "p50_ms<=4"))
    assert len(fake.ran) == ran and again.tried == first.tried
    assert [point.name for point in again.points] == [point.name for point in first.points]


def test_a_search_that_is_cut_off_has_the_candidates_of_their_short_trainings(tmp_path: Path, fake: type[FakeWorkers]) -> None:
    fake.forecast, fake.measure, fake.trials_left = _forecast(), staticmethod(_pruned), 3
    front = search(_request(tmp_path, "p50_ms<=4"))
    assert front.points and {point.trained for point in front.points} == {"short"} and front.trained == 0
    recipe = load_recipe(str(tmp_path / front.points[0].recipe))
    assert recipe.prune is not None and recipe.prune.train.epochs == 0.25  # what it was trained for
    assert _pruned(recipe).metric == front.points[0].metric


def test_a_budget_that_nothing_keeps_is_named_with_the_best_there_is(tmp_path: Path, fake: type[FakeWorkers]) -> None:
    fake.forecast = _forecast()
    fake.measure = staticmethod(
        lambda recipe: replace(
            _pruned(recipe), figures={**_pruned(recipe).figures, "accuracy_drop": 12 - _pruned(recipe).figures["p50_ms"]}
        )
    )
    front = search(_request(tmp_path, "p50_ms<=3", "accuracy_drop<=8"))
    assert not front.feasible and front.points
    assert "accuracy_drop<=8 is out of reach, the best is 8." in front.advice


def test_a_clock_that_is_set_back_or_ahead_changes_nothing(
    tmp_path: Path, fake: type[FakeWorkers], monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps = iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: (-1) ** next(jumps) * 1e8 + 2e9)
    front = search(_request(tmp_path, "p95_ms<=6"))
    assert front.feasible and front.points and 0 <= front.seconds < 60


def test_a_target_that_goes_away_marks_the_candidates_it_was_needed_for(tmp_path: Path, fake: type[FakeWorkers]) -> None:
    fake.forecast = _forecast()

    def measure(recipe: Recipe) -> TrialResult:
        if len(fake.ran) > 4:
            return TrialResult({}, error="board-7: the connection was lost")
        return _pruned(recipe)

    fake.measure = staticmethod(measure)
    front = search(_request(tmp_path))
    assert (
        front.points
        and front.failed
        and set(front.failed.values()) <= {f"{rung}: board-7: the connection was lost" for rung in ("short", "full", "final")}
    )


def test_the_front_keeps_the_budgets_and_each_point_has_a_recipe_that_says_how(tmp_path: Path, fake: type[FakeWorkers]) -> None:
    front = search(_request(tmp_path, "p95_ms<=6", "size_mb<=0.6"))
    assert front.feasible and front.points and not front.advice
    for point in front.points:
        assert point.p95_ms is not None and point.p95_ms <= 6 and not point.missed
        recipe = load_recipe(str(tmp_path / point.recipe))
        assert _model(recipe).figures["p50_ms"] == point.p50_ms == point.predicted_ms
        assert point.predicted_metric is not None
        assert (point.predicted_metric < point.metric) == (point.trained == "full")  # a short training is short
    metrics = [point.metric for point in front.points]
    assert metrics == sorted(metrics, reverse=True)
    values = json.loads((tmp_path / "front.json").read_text(encoding="utf-8"))
    assert values["tried"] == front.tried and len(values["points"]) == len(front.points)


def test_candidates_beyond_a_budget_are_not_trained_further(tmp_path: Path, fake: type[FakeWorkers]) -> None:
    search(_request(tmp_path, "p50_ms<=3"))
    rungs: dict[str, int] = {}
    for rung, recipe in fake.ran:
        rungs[rung] = rungs.get(rung, 0) + 1
        if rung != "untrained":
            assert _model(recipe).figures["p50_ms"] <= 3.3  # a tenth of room before training
    assert rungs["untrained"] > rungs["short"] > rungs["full"] > 0 < rungs["final"]


def test_budgets_out_of_reach_get_the_best_there_is_and_what_would_have_to_give(
    tmp_path: Path, fake: type[FakeWorkers]
) -> None:
    front = search(_request(tmp_path, "p50_ms<=0.5"))
    assert not front.feasible and front.points
    assert "p50_ms<=0.5 is out of reach, the best is" in front.advice
    assert all(point.missed for point in front.points)


def test_a_killed_search_does_what_is_left(tmp_path: Path, fake: type[FakeWorkers]) -> None:
    fake.trials_left = 9
    first = search(_request(tmp_path))
    assert first.unfinished and first.trained == 0
    tried = {json.dumps(recipe.model_dump(mode="json")) for rung, recipe in fake.ran if rung == "short"}
    fake.trials_left, fake.ran = 10_000, []
    second = search(_request(tmp_path))
    assert second.points and second.trained > 0
    again = {json.dumps(recipe.model_dump(mode="json")) for rung, recipe in fake.ran if rung == "short"}
    assert not tried & again


def test_several_targets_get_one_model_judged_by_the_slowest(tmp_path: Path, fake: type[FakeWorkers]) -> None:
    def measure(recipe: Recipe) -> TrialResult:
        found = _model(recipe)
        slower = 3.0 if recipe.target == "arm64" else 1.0
        return TrialResult({**found.figures, "p50_ms": slower * found.figures["p50_ms"]}, found.metric, "accuracy")

    fake.measure = staticmethod(measure)
    front = search(_request(tmp_path, "p50_ms<=10", targets=("x86-vnni", "arm64")))
    for point in front.points:
        assert set(point.targets) == {"x86-vnni", "arm64"}
        assert point.p50_ms == point.targets["arm64"]["p50_ms"] == pytest.approx(3 * point.targets["x86-vnni"]["p50_ms"])
        assert point.p50_ms <= 10


def test_a_candidate_that_fails_is_named_and_the_search_goes_on(tmp_path: Path, fake: type[FakeWorkers]) -> None:
    def measure(recipe: Recipe) -> TrialResult:
        if recipe.prune is None:
            return TrialResult({}, error="the target went away")
        return _model(recipe)

    fake.measure = staticmethod(measure)
    front = search(_request(tmp_path))
    assert front.points and "untrained: the target went away" in front.failed.values()


def test_what_is_nobodys_fault_ends_the_search(tmp_path: Path, fake: type[FakeWorkers]) -> None:
    fake.measure = staticmethod(lambda _: TrialResult({}, error="the disk is full", fatal=True))
    with pytest.raises(MachineError, match="the disk is full"):
        search(_request(tmp_path))
    fake.measure = staticmethod(lambda _: TrialResult({}, error="no such target"))
    with pytest.raises(MachineError, match="the first 3 candidates failed, the last with: no such target"):
        search(_request(tmp_path / "other"))


def test_a_language_model_is_refused_before_anything_runs(tmp_path: Path, fake: type[FakeWorkers]) -> None:
    recipe = Recipe.read(
        {"name": "talks", "teacher": {"source": "decoder"}, "data": {"set": "texts"}, "language": {}}, where=""
    )
    with pytest.raises(RecipeError, match=r"\[language\]: a search does not measure generation"):
        search(SearchRequest(recipe, tmp_path))
    assert not fake.ran


def test_contradicting_budgets_are_refused_before_anything_runs(tmp_path: Path, fake: type[FakeWorkers]) -> None:
    with pytest.raises(RecipeError, match="contradict"):
        search(_request(tmp_path, "p50_ms<=1", "p50_ms>=2"))
    assert not fake.ran


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"workers": 0}, "--workers 0: give 1 or more"),
        ({"folder": Path(__file__)}, r"test_search\.py: is a file; name a folder"),
        ({"targets": ("nowhere",)}, "target 'nowhere' does not exist"),
    ],
)
def test_what_no_search_can_run_with_is_refused_in_one_line(
    tmp_path: Path, fake: type[FakeWorkers], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(EdgeoptError, match=message) as caught:
        search(replace(_request(tmp_path), **change))
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2 and not fake.ran


def test_a_real_search_that_was_killed_goes_on_and_ends_with_bundles(tmp_path: Path) -> None:
    text = """
    <ir_version: 10, opset_import: ["" : 21]>
    digits (float[batch, 1, 8, 8] image) => (float[batch, 10] logits) {
        c = Conv <pads = [1, 1, 1, 1]> (image, w)
        r = Relu (c)
        f = Flatten (r)
        logits = Gemm (f, wg)
    }"""
    model = onnx.parser.parse_model(text)
    generator = np.random.default_rng(0)
    for name, shape in (("w", (8, 1, 3, 3)), ("wg", (512, 10))):
        values = generator.standard_normal(shape).astype(np.float32) * 0.1
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    onnx.save_model(model, tmp_path / "digits.onnx")
    values = {
        "name": "real",
        "model": str(tmp_path / "digits.onnx"),
        "data": {"set": "digits", "calibration_limit": 16, "evaluation_limit": 32},
        "profile": {"seconds": 0.3},
        "search": {"rounds": 1, "candidates": 2, "profile_seconds": 0.2},
        "allow_worse": True,
    }
    (tmp_path / "real.toml").write_text(tomli_w.dumps(values), encoding="utf-8")
    recipe, out = load_recipe(str(tmp_path / "real.toml")), tmp_path / "out"
    command = ["search", str(tmp_path / "real.toml"), "--budget", "size_kb<=100", "--time", "200s", "--out", str(out)]
    process = lifetime.start([sys.executable, "-m", "edgeopt", *command], stdout=DEVNULL, stderr=DEVNULL)
    while not (done := list(out.glob("candidates/*/untrained/result.json"))) and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in done}
    front = search(SearchRequest(recipe, out, ("size_kb<=100",), 200.0, workers=2))
    assert before and {path: path.stat().st_mtime_ns for path in before} == before  # not done again
    assert front.tried == 2
    assert front.feasible and front.metric == "accuracy" and front.trained >= 1
    for point in front.points:
        assert point.setting["quantize.scheme"] in {"static", "dynamic"}
        assert point.size_bytes is not None and point.size_bytes < 1e5
        assert (tmp_path / "out" / point.bundle / "verify.py").is_file()
    again = Pipeline(load_recipe(str(out / front.points[0].recipe)), tmp_path / "again").run()
    models = [next(folder.glob("*.onnx")).read_bytes() for folder in (again.bundle, out / front.points[0].bundle)]
    assert models[0] == models[1]
    store = tmp_path / "out" / "store" / "artifacts"
    assert len(list(store.glob("import-*"))) == 1  # all candidates found the one that the first had made
