"""Generation measured: figures that fit together, budgets, wrong use."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgeopt.errors import ModelError, RecipeError
from edgeopt.lifetime import Finished
from edgeopt.profile import generation
from edgeopt.profile.config import GenerationConfig
from edgeopt.profile.generation import _judge, _weight_bytes, budgets_for, profile_apart, profile_generation
from edgeopt.profile.result import ContextProfile
from edgeopt.verdict.budget import Budget
from edgeopt.verdict.exit_code import Undecided, exit_code_of_budgets
from tests.cli.conftest import edgeopt_here, exported

MEASURED = ContextProfile(128, 200.0, 640.0, 50.0, 20.0, 21.0, 22.0, 96, 250_000_000, 1000, 100_000_000, 120.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("hub"), tmp_path_factory.mktemp("model"))


def test_figures_fit_together(model: Path) -> None:
    found = profile_generation(model, config=GenerationConfig(contexts=[16, 64], tokens=8, repeats=2))
    assert [row.context for row in found.contexts] == [16, 64]
    for row in found.contexts:
        assert row.prefill_tokens_per_s == pytest.approx(1e3 * row.context / row.ttft_ms)
        assert row.inter_token_p50_ms <= row.inter_token_p95_ms <= row.inter_token_p99_ms
        assert row.samples == 16
        assert row.limit_tokens_per_s == pytest.approx(found.bandwidth_bytes_per_s / row.bytes_per_token)
    first, second = found.contexts
    per_token = 2 * 2 * 4 * 8 * 4
    assert second.bytes_per_token - first.bytes_per_token == 48 * per_token
    assert 1e8 < found.bandwidth_bytes_per_s < 1e12
    assert found.weight_bytes == _weight_bytes(model / "model.onnx") > 2 * (3 * 32 * 64) * 4  # the products of two layers


@pytest.mark.parametrize(
    ("budget", "verdict", "value"),
    [
        ("ttft_ms<=200", "pass", 200),
        ("ttft_ms<200", "fail", 200),
        ("tokens_per_s>=50", "pass", 50),
        ("rss_mb<=100", "fail", 250),
    ],
)
def test_budgets_are_judged(budget: str, verdict: str, value: float) -> None:
    finding = _judge(MEASURED, Budget.parse_generation(budget), "int4")
    assert (finding.variant, finding.verdict, finding.value) == ("int4", verdict, value)
    assert _judge(replace(MEASURED, tokens_per_s=49.0), Budget.parse_generation("tokens_per_s>=50"), "int4").verdict == "fail"


def test_a_budget_on_memory_is_undecided_where_the_system_does_not_tell_it() -> None:
    finding = _judge(replace(MEASURED, rss_bytes=None), Budget.parse_generation("rss_mb<=100"), "int4")
    assert (finding.verdict, finding.value, finding.reason) == ("undecided", None, "this system does not tell it")
    assert exit_code_of_budgets([finding], Undecided.FAIL) == 1
    assert exit_code_of_budgets([finding], Undecided.PASS) == 0


def test_a_budget_names_a_model_or_is_on_all() -> None:
    names, budgets = ["a", "b"], ["ttft_ms<=200", "b: tokens_per_s>=50"]
    assert budgets_for("a", names, budgets, unnamed=True) == ["ttft_ms<=200"]
    assert budgets_for("b", names, budgets, unnamed=True) == budgets
    assert budgets_for("b", names, budgets, unnamed=False) == ["b: tokens_per_s>=50"]
    with pytest.raises(RecipeError, match="no variant 'c'; there are: a, b"):
        budgets_for("a", names, ["c: ttft_ms<=1"], unnamed=True)


def test_a_process_of_its_own_measures_one_model_and_passes_its_errors_on(model: Path, tmp_path: Path) -> None:
    config = GenerationConfig(contexts=[16], tokens=4, repeats=1)
    found = profile_apart(model, config=config, name="int4")
    assert (found.model, found.contexts[0].samples, found.threads) == ("int4", 4, 1)
    with pytest.raises(ModelError, match="holds no ONNX file"):
        profile_apart(tmp_path, config=config)


def test_a_context_beyond_the_models_is_refused(model: Path) -> None:
    with pytest.raises(RecipeError, match="the model's context is 512"):
        profile_generation(model, config=GenerationConfig(contexts=[500], tokens=32))


def test_the_command_prints_a_table_and_fails_a_missed_budget(model: Path) -> None:
    short = ("--set", "contexts=[16]", "--set", "tokens=4", "--set", "repeats=1", "--quiet")
    done = edgeopt_here("profile", str(model), *short, "--budget", "tokens_per_s>=1000000000")
    assert done.returncode == 1, done.stderr
    assert "first token" in done.stdout
    assert "missed" in done.stderr
    done = edgeopt_here("profile", str(model), *short, "--format", "json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["models"][0]["contexts"][0]["context"] == 16


def test_the_command_refuses_options_that_generation_does_not_take(model: Path) -> None:
    for options, said in {
        ("--seconds", "1"): "--seconds: generation has prompts of its own",
        ("--target", "browser-wasm"): "generation is measured on this machine",
        ("--undecided", "maybe"): "choose pass or fail",
        ("--budget", "p95_ms<=3"): "unknown metric 'p95_ms'",
    }.items():
        done = edgeopt_here("profile", str(model), *options, "--quiet")
        assert done.returncode == 2
        assert said in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_module_of_the_current_folder_does_not_run_in_the_measuring_process(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> Finished:
        commands.append(command)
        return Finished(2, "ModelError no such model", "")

    monkeypatch.setattr(generation, "run", run)
    with pytest.raises(ModelError, match="no such model"):
        profile_apart(Path("none"), config=GenerationConfig())
    assert commands[0][1] == "-P", "python -m alone puts the current folder first on the path"
