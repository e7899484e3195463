"""Which code a stage's key depends on: everything the stage runs, nothing that only formats."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgeopt.import_graph import code_hashes, reached, read_source
from edgeopt.recipe import load_recipe
from edgeopt.stages.job import Stage
from edgeopt.stages.order import stages_of
from edgeopt.targets.target import load_target

ROOT = Path(__file__).resolve().parent.parent
RECIPE = str(Path(__file__).parent / "tiny_recipe.toml")
SOURCES = sorted(path for path in (ROOT / "edgeopt").rglob("*.py") if "_shipped" not in path.parts)


def stages(*changes: str) -> dict[str, Stage]:
    recipe = load_recipe(RECIPE, changes)
    return {stage.name: stage for stage in stages_of(recipe, load_target(recipe.target))}


def plain_imports(path: Path) -> set[str]:
    """Return the edgeopt modules that the file imports, read by a plain walk over its whole syntax tree."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    types_only = [
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    ]
    found = set()
    for node in ast.walk(tree):
        if id(node) in types_only:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "edgeopt":
            for alias in node.names:
                inner = ROOT.joinpath(*f"{node.module}.{alias.name}".split("."))
                is_module = inner.with_suffix(".py").is_file() or (inner / "__init__.py").is_file()
                found.add(f"{node.module}.{alias.name}" if is_module else str(node.module))
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "edgeopt"}
    return found


def test_no_import_statement_is_overlooked() -> None:
    overlooked = {str(path): plain_imports(path) - read_source(path).modules for path in SOURCES}
    assert len(SOURCES) > 200
    assert not {path: names for path, names in overlooked.items() if names}


@pytest.mark.parametrize(
    ("stage", "modules"),
    [
        ("profile", {"edgeopt.graph.macs", "edgeopt.config", "edgeopt.files", "edgeopt.verdict.budget"}),
        ("verify", {"edgeopt.graph.session", "edgeopt.graph.files", "edgeopt.stages.samples"}),
        ("bundle", {"edgeopt.graph.requirements", "edgeopt.data.preprocessing", "edgeopt.files"}),
        ("quantize", {"edgeopt.quantize.stage", "edgeopt.quantize.schemes.dynamic", "edgeopt.passes.global_pooling"}),
        ("export", {"edgeopt.exporters.bert", "edgeopt.passes.flatten_rows", "edgeopt.models.residual_cnn"}),
        ("teacher", {"edgeopt.train.loop", "edgeopt.models.residual_cnn", "edgeopt.data.digits"}),
    ],
)
def test_a_stage_reaches_what_decides_its_result(stage: str, modules: set[str]) -> None:
    assert modules <= reached(*stages()[stage].modules).keys()


def test_files_beside_the_package_count_where_they_run() -> None:
    assert "deploy/runner/measure.py" in reached(*stages()["profile"].modules)
    assert {"deploy/runner/verify.py", "deploy/templates/python/example.py"} <= reached(*stages()["bundle"].modules).keys()


@pytest.mark.parametrize("stage", sorted(stages()))
def test_what_only_formats_or_commands_is_not_reached(stage: str) -> None:
    groups = code_hashes(*stages()[stage].modules).keys()
    assert not groups & {"report", "cli", "pipeline", "recipes", "deploy/targets"}


def test_a_lazy_package_brings_only_what_is_taken_from_it() -> None:
    files = reached(*stages()["teacher"].modules)
    assert "edgeopt" in files
    assert not [name for name in files if name.startswith(("edgeopt.quantize.", "edgeopt.export.", "edgeopt.profile."))]


def test_a_builder_of_the_users_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "counted_nets.py").write_text("def make(): ...\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    found = stages('distill.source="counted_nets:make"', "distill.arguments={}")
    for name in ("teacher", "distill", "prune", "export", "verify"):
        assert reached(*found[name].modules)["counted_nets"] == tmp_path / "counted_nets.py"
    assert "counted_nets" not in reached(*found["quantize"].modules)


CHANGED = {
    "edgeopt/config.py": {"teacher", "export", "quantize", "verify", "profile", "bundle"},
    "edgeopt/files.py": {"teacher", "export", "quantize", "verify", "profile", "bundle"},
    "edgeopt/graph/macs.py": {"profile", "quantize", "export"},
    "edgeopt/graph/session.py": {"teacher", "verify", "profile", "quantize", "export", "bundle"},
    "edgeopt/graph/files.py": {"teacher", "verify", "profile", "quantize", "export", "bundle"},
    "deploy/runner/measure.py": {"profile", "quantize", "export", "bundle"},
    "exporters/bert.py": {"export"},
    "edgeopt/report/html.py": set(),
    "edgeopt/cli/run.py": set(),
    "deploy/targets/arm64.toml": set(),
    "docs/README.md": set(),
}


def test_changed_code_changes_the_keys_of_the_stages_that_run_it(tmp_path: Path) -> None:
    for folder in ("edgeopt", "exporters", "deploy", "calibration_data"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "docs").mkdir()
    shutil.copy(RECIPE, tmp_path / "recipe.toml")
    program = f"""
import json
from pathlib import Path
from edgeopt import import_graph as graph
from edgeopt.recipe import load_recipe
from edgeopt.stages.order import stages_of
from edgeopt.targets.target import load_target
recipe = load_recipe("recipe.toml")
stages = stages_of(recipe, load_target(recipe.target))
def hashes():
    for function in (graph.read_source, graph._hash, graph._files_of):
        function.cache_clear()
    return {{stage.name: graph.code_hashes(*stage.modules) for stage in stages}}
before, changed = hashes(), {{}}
for name in {list(CHANGED)!r}:
    path = Path(name)
    text = path.read_text() if path.is_file() else ""
    path.write_text(text + "\\n# later\\n")
    changed[name] = [stage for stage, value in hashes().items() if value != before[stage]]
    path.write_text(text)
print(json.dumps(changed))
"""
    command = [sys.executable, "-c", program]
    result = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    named = set().union(*CHANGED.values())
    assert {name: set(found) & named for name, found in json.loads(result.stdout).items()} == CHANGED


def test_a_run_loads_no_module_that_its_stages_do_not_reach(tmp_path: Path) -> None:
    """What really was imported while a stage ran, dynamic imports included, is among what the walk found."""
    program = f"""
import json, sys
from dataclasses import replace
from pathlib import Path
from edgeopt.import_graph import reached
from edgeopt.pipeline import Pipeline
from edgeopt.recipe import load_recipe
pipeline = Pipeline(load_recipe({RECIPE!r}), Path("run"))
missed = {{}}
def watched(stage):
    def run(job):
        before = set(sys.modules)
        facts = stage.run(job)
        loaded = {{Path(sys.modules[name].__file__) for name in set(sys.modules) - before if name.split(".")[0] == "edgeopt"}}
        missed[stage.name] = sorted(map(str, loaded - set(reached(*stage.modules).values())))
        return facts
    return run
class Watched:
    def __init__(self, stage): self.stage, self.run = stage, watched(stage)
    def __getattr__(self, name): return getattr(self.stage, name)
pipeline._stages = [Watched(stage) for stage in pipeline._stages]
pipeline.run()
print(json.dumps(missed))
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == {name: [] for name in stages()}


def test_benchmarks_import_modules_that_exist() -> None:
    """Nothing else looks at them: they run by hand, hours after something was renamed."""
    missing = []
    for path in (ROOT / "benchmarks").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            if module and module.split(".")[0] in {"edgeopt", "benchmarks", "tools"}:
                place = ROOT.joinpath(*module.split("."))
                if not (place.with_suffix(".py").is_file() or place.is_dir()):
                    missing.append(f"{path.relative_to(ROOT)}: {module}")
    assert not missing
