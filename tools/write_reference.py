"""Write docs/reference/*.md from the sources; without --write, fail where a page is stale.

Three kinds of page: the options of every stage, target and data set (from the fields of the option classes and their
docstrings), the command line (from ``--help``), and the public Python API (from `edgeopt.__all__`).

    python -m tools.write_reference [--write]
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from edgeopt.config import Options
from edgeopt.data.manifest import Manifest
from edgeopt.data.selection.stage import CalibrateConfig
from edgeopt.data.source_options import SourceOptions
from edgeopt.evaluate.became_worse import EvaluationCompareConfig
from edgeopt.evaluate.stage import EvaluateConfig
from edgeopt.generate.server.config import ServeConfig
from edgeopt.graph.generation import Generation
from edgeopt.profile.became_worse import CompareConfig
from edgeopt.profile.config import GenerationConfig
from edgeopt.profile.scenarios import ScenarioConfig
from edgeopt.profile.sweeps import SweepConfig
from edgeopt.quantize.language.config import LanguageOptions
from edgeopt.recipe import Recipe
from edgeopt.targets.target import Target
from edgeopt.tasks.decoding import Decoding
from tools.reference_commands import commands_page
from tools.reference_options import options_page
from tools.reference_python import python_page


class Answers(Options):
    """How the outputs of a model become answers."""

    decoding: Decoding
    """The kind of answer, and what it needs."""


FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"

TOP_TABLES: Mapping[str, tuple[str, str, type[Options]]] = {
    "recipe": (
        "Recipe",
        """A recipe is a TOML file: `edgeopt run RECIPE.toml`. Its top-level keys are listed first, then each table. The keys of
a stage's table are also what the stage's own command takes as `--set KEY=VALUE`. An unknown key is an error that names the
nearest valid one.""",
        Recipe,
    ),
    "target": (
        "Target",
        "A target is a TOML file in `deploy/targets/`, or any path that ends in `.toml`: `edgeopt profile MODEL -t FILE`.",
        Target,
    ),
    "source": (
        "Sources of samples",
        """`--calibration`, `--data` and `--evaluate` take one text that names the samples. Options follow `?`, as in a URL:
`reviews.csv?text=review&label=stars`.""",
        SourceOptions,
    ),
    "calibrate-data": (
        "Picking calibration data",
        "The options of `edgeopt calibrate-data` and of `edgeopt.make_calibration_set`.",
        CalibrateConfig,
    ),
    "manifest": (
        "Calibration set",
        "A calibration set is a folder with a `manifest.toml`, in `calibration_data/` or anywhere else.",
        Manifest,
    ),
    "sweep": ("Sweep", "The options of `edgeopt sweep --set KEY=VALUE` and of `edgeopt.profile.sweep`.", SweepConfig),
    "scenarios": (
        "Scenarios",
        "The options of `edgeopt scenarios --set KEY=VALUE` and of `edgeopt.profile.measure_scenarios`.",
        ScenarioConfig,
    ),
    "compare": (
        "Compare",
        "The options of `edgeopt compare --set KEY=VALUE` and of `edgeopt.profile.became_worse.compare`.",
        CompareConfig,
    ),
    "compare-evaluations": (
        "Compare evaluations",
        "The options of `edgeopt compare --set KEY=VALUE` for evaluations.",
        EvaluationCompareConfig,
    ),
    "evaluate": ("Evaluate", "The options of `edgeopt evaluate --set KEY=VALUE` and of `edgeopt.evaluate`.", EvaluateConfig),
    "language": (
        "Language models",
        "The options of `edgeopt quantize --preset llm --set KEY=VALUE`.",
        LanguageOptions,
    ),
    "profile-generation": (
        "Profiling generation",
        "The options of `edgeopt profile FOLDER --set KEY=VALUE` for folders of language models.",
        GenerationConfig,
    ),
    "serve": ("Serve", "The options of `edgeopt serve --set KEY=VALUE`.", ServeConfig),
    "generation": ("generation.json", "What lies beside an exported language model and says how it is run.", Generation),
    "answers": ("Answers", "How outputs become answers: `decoding` in `bundle.json`, one table per kind.", Answers),
}
"""Page → its title, what it is about, and the option class it lists with all classes below it."""


def main() -> int:
    """Compare the pages with the sources, or with --write bring them up to date; return 1 if one is stale."""
    pages = {**{name: options_page(*about) for name, about in TOP_TABLES.items()}}
    pages |= {"command-line": commands_page(), "python": python_page()}
    stale = [name for name, text in pages.items() if not is_current(FOLDER / f"{name}.md", text)]
    if "--write" in sys.argv:
        for name in stale:
            (FOLDER / f"{name}.md").write_text(pages[name], encoding="utf-8")
        return 0
    for name in stale:
        print(f"docs/reference/{name}.md is stale; run: make format")
    return min(1, len(stale))


def is_current(path: Path, text: str) -> bool:
    """Return whether the file at `path` holds `text`."""
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
