"""The stages of a language model: names, budgets, and the results in the types of the other stages."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeopt.errors import RecipeError
from edgeopt.quantize.language.stage import LanguageFacts
from edgeopt.quantize.language.text import Likelihood
from edgeopt.recipe import Recipe, load_recipe
from edgeopt.stages.language import _facts, budgets_of
from edgeopt.stages.order import stages_of
from edgeopt.targets.target import load_target

NAMES = ["fp32", "int4", "teacher"]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setenv("EDGEOPT_DATA", str(tmp_path))
    return load_recipe("language-model")


def test_generation_stands_in_the_place_of_the_profile(recipe: Recipe) -> None:
    found = {stage.name: stage for stage in stages_of(recipe, load_target("host"))}
    assert "profile" not in found
    assert found["generation"].needs == ("export", "quantize", "export-teacher")
    assert found["quantize"].options["method"] == "auto"
    assert {name for name, stage in found.items() if stage.reads_machine} == {"generation", "bundle"}
    unmeasured = recipe.model_copy(update={"generation": False})
    assert "generation" not in {stage.name for stage in stages_of(unmeasured, load_target("host"))}


def test_generation_on_another_machine_is_refused_before_anything_runs(recipe: Recipe) -> None:
    with pytest.raises(RecipeError, match="not on target 'arm64-emulated': set generation = false"):
        stages_of(recipe, load_target("arm64-emulated"))


@pytest.mark.parametrize(("change", "name"), [("language.body_bits=4", "int4"), ("language.body_bits=8", "int8")])
def test_the_model_is_called_by_the_bits_of_its_weights(
    change: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEOPT_DATA", str(tmp_path))
    assert load_recipe("language-model", [change]).quantized_name == name


def test_a_budget_without_a_name_is_on_the_quantized_model() -> None:
    budgets = ["tokens_per_s>=20", "fp32: ttft_ms<=50"]
    found = {name: budgets_of(name, NAMES, budgets) for name in NAMES}
    assert found == {"fp32": ["fp32: ttft_ms<=50"], "int4": ["tokens_per_s>=20"], "teacher": []}
    with pytest.raises(RecipeError, match=r"no variant 'int8' \(did you mean 'int4'\?\); there are: fp32, int4, teacher"):
        budgets_of("fp32", NAMES, ["int8: ttft_ms<=50"])


def test_the_result_is_that_of_the_stage_quantize() -> None:
    likelihood = Likelihood(tokens=200, before=20.0, after=22.0, kl=0.1, agreement=0.75)
    facts = LanguageFacts(400, 100, {"a": 4, "b": 8}, likelihood, None, "text", (), (), ("careful",), "1.24")
    found = _facts(facts, "host", 12)
    assert (found.scheme.weight, found.tensors, found.samples, found.warnings) == ("int4", 2, 12, ("careful",))
    assert found.agreement is not None
    assert (found.agreement.same, found.agreement.total) == (150, 200)
    assert (found.size_bytes_before, found.size_bytes_after) == (400, 100)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[language]\n[profile]\nseconds = 1.0", r"\[profile\] is not read with \[language\]"),
        ("[generation]\ntokens = 8", r"\[generation\] is not read without \[language\]"),
    ],
)
def test_tables_that_would_not_be_read_are_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(f'[data]\nset = "digits"\n[teacher]\nsource = "folder"\n{text}\n', encoding="utf-8")
    with pytest.raises(RecipeError, match=said):
        load_recipe(str(path))
