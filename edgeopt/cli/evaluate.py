"""`edgeopt evaluate`: models side by side on one data set."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeopt.cli.options import Builder, Format, Quiet, TargetName
from edgeopt.cli.output import print_json, say

if TYPE_CHECKING:
    from edgeopt.evaluate.language import LanguageEvaluation
    from edgeopt.evaluate.stage import Evaluation, ModelScore


_OF_LANGUAGE_MODELS = ("models", "data", "task", "limit", "confidence", "form", "quiet")


def evaluate(
    context: typer.Context,
    models: Annotated[
        list[str], typer.Argument(help="ONNX files, transformers folders, saved folders; the first is compared with.")
    ],
    data: Annotated[str, typer.Option("--data", help="Samples: a file, a folder or a set (docs/how-to/calibration-data.md).")],
    task: Annotated[str | None, typer.Option("--task", help="What the models are for (docs/how-to/tasks.md).")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Use at most this many samples, picked over the labels.")
    ] = None,
    tokenizer: Annotated[Path | None, typer.Option("--tokenizer", help="Folder with tokenizer.json, for text.")] = None,
    decoding: Annotated[Path | None, typer.Option("--decoding", help="How outputs become answers, in a .toml file.")] = None,
    confidence: Annotated[float, typer.Option("--confidence", min=0.5, max=0.999, help="Of the intervals.")] = 0.95,
    target: TargetName = "host",
    builder: Builder = None,
    form: Format = "table",
    quiet: Quiet = False,
) -> None:
    """Evaluate models on the same samples: the task's metric, agreement with the first, and the paired difference.

    Without labels, models are judged by agreement and output error.
    """
    from edgeopt.cli.options import need_format, refuse_others
    from edgeopt.cli.progress_bars import shown
    from edgeopt.evaluate.stage import EvaluateConfig
    from edgeopt.evaluate.stage import evaluate as run
    from edgeopt.targets.target import load_target

    need_format(form)
    if _are_language(task, models):
        refuse_others(context, _OF_LANGUAGE_MODELS, "not for language models, which are compared on tokens of their own")
        _evaluate_language(models, data, limit=limit, confidence=confidence, form=form, quiet=quiet)
        return
    config = EvaluateConfig(
        task=task, limit=limit, confidence=confidence, tokenizer=tokenizer, builder=builder, decoding=decoding
    )
    provider = load_target(target).provider
    with shown(quiet=quiet):
        found = run([*models], data, config=config, provider=provider)
    if form == "json":
        print_json(_values(found))
    else:
        _show(found, form)
    for note in found.notes:
        say(f"note: {note}", err=True)


def _are_language(task: str | None, models: list[str]) -> bool:
    """Return whether all models are exported decoders; beside a model of PyTorch they are judged as it is."""
    from edgeopt.generate.opening import is_language_model

    paths = [Path(model) for model in models]
    if task == "text-generation":
        return all(path.suffix == ".onnx" or any(path.glob("*.onnx")) for path in paths)
    return task is None and all(map(is_language_model, paths))


def _evaluate_language(models: list[str], data: str, *, limit: int | None, confidence: float, form: str, quiet: bool) -> None:
    """Print perplexities of a text, and distances from the first model."""
    from edgeopt.cli.progress_bars import shown
    from edgeopt.cli.tables import show
    from edgeopt.data.source import options_of
    from edgeopt.evaluate.language import WINDOW, evaluate_language

    text, _, asked = data.partition("?")
    window = options_of(data).max_length if "max_length" in asked else WINDOW
    with shown(quiet=quiet):
        paths = [Path(model) for model in models]
        found = evaluate_language(paths, Path(text), windows=limit, window=window, confidence=confidence)
    if form == "json":
        print_json({"schema_version": 1, "task": "text-generation", **_values(found)})
        return
    rows = [
        {
            "model": score.model,
            "perplexity": f"{score.perplexity:.3f} ({score.low:.3f} to {score.high:.3f})",
            "increase": "" if score.perplexity_increase is None else f"{100 * score.perplexity_increase:+.2f} %",
            "KL": "" if score.kl is None else f"{score.kl:.4f}",
            "agreement": f"{100 * score.agreement:.1f} %",
        }
        for score in found.models
    ]
    show(rows, form, figures=True)
    say(f"text-generation, {found.tokens:,} tokens in {found.windows} windows of {found.text}", err=True)


def _values(found: Evaluation | LanguageEvaluation) -> dict[str, Any]:
    """Return the evaluation as JSON values; `difference` is that from the first model."""
    models = []
    for score in found.models:
        values = asdict(score)
        values["difference"] = values.pop("paired")
        models.append(values)
    return {**asdict(found), "models": models}


def _show(found: Evaluation, form: str) -> None:
    from edgeopt.cli.tables import show

    show([_row(score, found) for score in found.models], form, figures=True)
    say(f"{found.task}, {found.samples:,} samples, intervals at {100 * found.confidence:g} % confidence", err=True)


def _row(score: ModelScore, found: Evaluation) -> dict[str, str]:
    value = "–" if score.value is None else f"{score.value:.4f}"
    if score.low is not None and score.high is not None:
        value += f" ({score.low:.4f} to {score.high:.4f})"
    difference = score.paired
    row = {"model": score.name, score.metric: value}
    for name in dict.fromkeys(name for model in found.models for name in model.further):
        row[name] = f"{score.further[name]:.4f}" if name in score.further else "–"
    if found.labelled:
        row["agrees"] = "–" if score.agreement is None else f"{score.agreement:.4f}"
    row["changed"] = "–" if score.changed is None else f"{score.changed:,}"
    if found.labelled:
        row["difference"] = (
            f"{difference.difference:+.4f} ({difference.low:+.4f} to {difference.high:+.4f})" if difference else "–"
        )
        row["p"] = f"{difference.p_value:.3g}" if difference else "–"
    row["output error"] = "–" if score.output_error is None else f"{score.output_error:.3g}"
    return row
