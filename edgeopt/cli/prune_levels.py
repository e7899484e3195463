"""`edgeopt prune --levels`: the same model pruned to several levels, resumable level by level, with a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from edgeopt.cli.output import say
from edgeopt.errors import RecipeError

if TYPE_CHECKING:
    from edgeopt.cli.prune_run import Pruning
    from edgeopt.prune.config import PruneOptions

_KINDS = ("macs", "parameters", "latency")


@dataclass(frozen=True)
class LevelRow:
    """One level: what was removed, what the exported file has, and how good the model is. Level 0 is the whole model."""

    level: int
    key: str
    parameters: int
    macs: int
    size_bytes: int
    latency_ms: float | None = None
    metric: str = ""
    value: float | None = None
    problem: str = ""
    compressed_bytes: int | None = None


@dataclass(frozen=True)
class PartRow:
    """How far the outputs are from the whole model's if one part alone is pruned: units left → divergence."""

    name: str
    kind: str
    units: int
    divergence: dict[int, float] = field(default_factory=dict)


def read_levels(text: str) -> list[int]:
    """Return the percentages in ``10,30,50``.

    Raises:
        RecipeError: one is not a whole number from 1 to 99.
    """
    parts = [part.strip().removesuffix("%") for part in text.split(",")]
    if not all(part.isdecimal() and 0 < int(part) < 100 for part in parts):
        raise RecipeError(f"--levels {text}: write percentages to remove, whole numbers from 1 to 99, such as 10,30,50")
    return sorted({int(part) for part in parts})


def prune_levels(
    run: Pruning,
    levels: Sequence[int],
    options: PruneOptions,
    report: Path,
    *,
    by: str,
    seconds: float | None,
    sensitivity: bool,
) -> None:
    """Prune to each level into ``report/level-N``, and write report.html and report.json; finished levels are not redone."""
    from edgeopt.errors import nearest
    from edgeopt.files import write_json
    from edgeopt.report.prune_levels import levels_page

    if by not in _KINDS:
        raise RecipeError(f"--by {by}{nearest(by, _KINDS)}: choose {', '.join(_KINDS)}")
    report.mkdir(parents=True, exist_ok=True)
    key = _key(run, options, by, seconds)
    rows = [_whole(run, options, report, key)]
    for level in levels:
        rows.append(_level(run, options, report, level, key=f"{key} {level}", by=by, seconds=seconds))
        say(_line(rows[-1], rows[0]))
    parts = _sensitivity(run, options) if sensitivity else []
    write_json(
        report / "report.json", {"by": by, "levels": [asdict(row) for row in rows], "parts": [asdict(row) for row in parts]}
    )
    from edgeopt.files import write_aside

    with write_aside(report / "report.html") as aside:
        title = f"{Path(run.source).name} pruned by {by}, on {run.target}"
        aside.write_text(levels_page(title, [asdict(row) for row in rows], [asdict(row) for row in parts]), encoding="utf-8")
    say(f"report  {report / 'report.html'}", err=True)


def _key(run: Pruning, options: PruneOptions, by: str, seconds: float | None) -> str:
    """Return what the levels depend on: the options, and the content of models and data."""
    from edgeopt import __version__
    from edgeopt.cli.training_inputs import reader_samples
    from edgeopt.models.load import load_model
    from edgeopt.store import key_of
    from edgeopt.train.checkpoint import weights_hash

    model = run.load()
    known = {"run": asdict(run), "options": options.model_dump(mode="json"), "by": by, "seconds": seconds}
    models = [model, *([load_model(run.teacher, source_builder=run.builder)] if run.teacher else [])]
    content = [*(weights_hash(one.module) for one in models), run.samples(model).digest]
    if run.evaluate:
        content.append(reader_samples(run.evaluate, model, split="evaluation").digest)
    return key_of({**known, "content": content, "edgeopt": __version__})


def _stored(path: Path, key: str) -> LevelRow | None:
    """Return a finished level of the same run."""
    try:
        row = TypeAdapter(LevelRow).validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return row if row.key == key else None


def _whole(run: Pruning, options: PruneOptions, report: Path, key: str) -> LevelRow:
    from edgeopt.files import write_json
    from edgeopt.stages.pruned_files import exported_figures

    path = report / "level-0.json"
    stored = _stored(path, f"{key} 0")
    if stored is not None:
        return stored
    model = run.load()
    figures = exported_figures(run.timing(options, run.samples(model)), model, latency=True)
    row = LevelRow(0, f"{key} 0", **vars(figures), **_score(run, None))
    write_json(path, asdict(row))
    return row


def _level(
    run: Pruning, options: PruneOptions, report: Path, level: int, *, key: str, by: str, seconds: float | None
) -> LevelRow:
    from edgeopt.errors import ModelError
    from edgeopt.files import write_json
    from edgeopt.models.load import load_model
    from edgeopt.stages.pruned_files import exported_figures

    path, output = report / f"level-{level}.json", report / f"level-{level}"
    stored = _stored(path, key)
    if stored is not None:
        return stored
    share = 1 - level / 100
    budget = {"latency": f"{share:.4g}x"} if by == "latency" else {by: share}
    kept = options.model_dump(exclude_unset=True)
    try:
        run(output, type(options).read({**kept, **budget}, where="options"), seconds=seconds)
    except ModelError as error:
        row = LevelRow(level, key, 0, 0, 0, problem=str(error))
    else:
        model = load_model(output, source_builder=run.builder)
        figures = exported_figures(run.timing(options, run.samples(model)), model, latency=True)
        row = LevelRow(level, key, **vars(figures), **_score(run, output))
    write_json(path, asdict(row))
    return row


def _score(run: Pruning, output: Path | None) -> dict[str, Any]:
    from edgeopt.cli.lost import side_by_side
    from edgeopt.cli.prune_run import candidates

    score = side_by_side(*candidates(run, output or Path(run.source))).models[-1]
    return {"metric": score.metric, "value": score.value}


def _line(row: LevelRow, whole: LevelRow) -> str:
    if row.problem:
        return f"{row.level} %: {row.problem}"
    value = "" if row.value is None or whole.value is None else f", {row.metric} {row.value:.4f} of {whole.value:.4f}"
    time = "" if row.latency_ms is None or whole.latency_ms is None else f", {row.latency_ms:.3g} ms of {whole.latency_ms:.3g}"
    return f"{row.level} %: {row.size_bytes / 1e6:.2f} MB of {whole.size_bytes / 1e6:.2f}{time}{value}"


def _sensitivity(run: Pruning, options: PruneOptions) -> list[PartRow]:
    """Return how much each part alone bears, without any recovery; nothing for networks without such parts."""
    from edgeopt.prune.sensitivity import part_sensitivity
    from edgeopt.prune.stage import is_transformer

    model = run.load()
    if not is_transformer(model.module):
        say("--sensitivity is for transformers; other networks are shown level by level only", err=True)
        return []
    found = part_sensitivity(model.module, run.samples(model), options=options, seed=run.seed)
    return [PartRow(part.name, part.kind.value, part.units, divergence) for part, divergence in found]
