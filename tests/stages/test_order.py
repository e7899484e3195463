"""Which stages a recipe has, and what each depends on."""

from __future__ import annotations

from pathlib import Path

from edgeopt.recipe import Recipe, load_recipe
from edgeopt.stages.job import Stage
from edgeopt.stages.order import forecast_stage, stages_of
from edgeopt.targets.target import Pruning, Target, load_target

TINY = str(Path(__file__).parent.parent / "tiny_recipe.toml")


def stages(*changes: str) -> dict[str, Stage]:
    recipe = load_recipe(TINY, changes)
    return {stage.name: stage for stage in stages_of(recipe, load_target(recipe.target))}


def test_every_need_stands_before_what_needs_it() -> None:
    seen: set[str] = set()
    for stage in stages().values():
        assert set(stage.needs) <= seen, stage.name
        seen.add(stage.name)


def test_the_last_model_goes_on_and_the_others_are_compared() -> None:
    assert stages()["quantize"].needs == ("export",)
    assert stages()["export"].needs == ("prune",)
    assert stages()["profile"].needs == ("export", "quantize", "export-distill", "export-teacher")
    assert [name for name in stages("compare=last") if name.startswith("export")] == ["export"]


def test_a_file_enters_at_quantize(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('model = "m.onnx"\nprofile = false\n[data]\nset = "digits"\n', encoding="utf-8")
    recipe = load_recipe(str(tmp_path / "r.toml"))
    found = {stage.name: stage for stage in stages_of(recipe, load_target("x86-vnni"))}
    assert list(found) == ["import", "quantize", "verify", "bundle"]
    assert found["import"].sources == (Path("m.onnx"),)
    assert found["verify"].needs == ("import", "quantize")


def test_what_the_whole_run_may_lose_is_part_of_what_verify_depends_on() -> None:
    assert stages("max_drop_points=3.0")["verify"].options != stages("max_drop_points=4.0")["verify"].options
    assert stages("max_drop_points=3.0")["quantize"].options == stages("max_drop_points=4.0")["quantize"].options


def test_stages_that_load_torch_models_depend_on_their_builders() -> None:
    found = stages()
    with_builders = {name for name, stage in found.items() if "edgeopt.models.residual_cnn" in stage.modules}
    assert with_builders == {"teacher", "distill", "prune", "export", "export-distill", "export-teacher", "verify"}
    assert all(("edgeopt.stages.samples" in stage.modules) == bool(stage.splits) for stage in found.values())


def test_a_forecast_depends_on_what_it_measures_and_not_on_how_much_is_pruned() -> None:
    def options(*changes: str) -> object:
        recipe = load_recipe(TINY, changes)
        return forecast_stage(recipe, load_target(recipe.target)).options

    assert options() == options("prune.macs=0.3") == options("prune.train.epochs=7.0")
    assert options() != options('quantize.exclude=["stem"]')  # these nodes have no error of their own
    assert options() != options("prune.round_to=4")


def test_pruning_depends_on_the_targets_step_and_with_a_budget_on_time_on_the_whole_target() -> None:
    def options(target: Target, budget: dict[str, object]) -> object:
        values = {"name": "n", "data": {"set": "digits"}, "teacher": {"source": "m:b"}, "prune": budget}
        return {stage.name: stage.options for stage in stages_of(Recipe.read(values, where="test"), target)}["prune"]

    here = load_target("x86-vnni")
    other = here.model_copy(update={"name": "a board"})
    wider = here.model_copy(update={"pruning": Pruning(step=here.pruning.step * 2)})
    assert options(here, {"macs": 0.5}) == options(other, {"macs": 0.5}) != options(wider, {"macs": 0.5})
    assert options(here, {"latency": "0.5x"}) != options(other, {"latency": "0.5x"})


def test_files_that_the_arguments_of_a_builder_name_are_sources(tmp_path: Path) -> None:
    (tmp_path / "model.pt2").write_bytes(b"")
    values = {
        "name": "n",
        "data": {"set": "digits"},
        "teacher": {"source": "m:b", "arguments": {"source": str(tmp_path), "empty": "", "count": 3}},
        "distill": {"source": str(tmp_path / "model.pt2"), "unlabelled": ["more.csv"]},
    }
    found = {stage.name: stage for stage in stages_of(Recipe.read(values, where="test"), load_target("x86-vnni"))}
    assert found["teacher"].sources == (tmp_path,)
    assert (found["distill"].sources, found["distill"].further) == ((tmp_path / "model.pt2",), ("more.csv",))
    exported = {**values, "teacher": {"source": str(tmp_path / "model.pt2")}, "distill": None}
    (teacher, *_) = stages_of(Recipe.read(exported, where="test"), load_target("x86-vnni"))
    assert teacher.sources == (tmp_path / "model.pt2",)
