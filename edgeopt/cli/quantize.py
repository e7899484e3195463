"""`edgeopt quantize`: quantize an ONNX file with calibration data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeopt.cli.options import Format, Quiet, Set, TargetName
from edgeopt.cli.output import print_json, say, say_to_copy, warn
from edgeopt.escaping import shell_word

if TYPE_CHECKING:
    from edgeopt.batches import Batches
    from edgeopt.data.samples import Samples
    from edgeopt.quantize import QuantizeConfig, QuantizeFacts, QuantizeResult
    from edgeopt.quantize.result import Coverage
    from edgeopt.quantize.schemes.scheme import Evaluate
    from edgeopt.targets.target import Target


_SAMPLES, _TRAINED_SAMPLES = 128, 1024


@dataclass(frozen=True)
class _Judge:
    """Samples of --evaluate, if there are any, the task of --task, and the floating-point model."""

    samples: Samples | None
    task: str | None
    model: Path


def quantize(
    model: Annotated[Path, typer.Argument(help="The ONNX file.")],
    calibration: Annotated[
        str | None, typer.Option("--calibration", help="Samples: a file, a folder or a set; plain text for --preset llm.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file (--preset: folder) to write.")] = None,
    preset: Annotated[str | None, typer.Option("--preset", help="llm: the weights of a language model, 4 and 8 bits.")] = None,
    max_perplexity_increase: Annotated[
        str | None, typer.Option("--max-perplexity-increase", help="With --preset llm: largest increase on the text, 5%.")
    ] = None,
    target: TargetName = "host",
    tokenizer: Annotated[Path | None, typer.Option("--tokenizer", help="Folder with tokenizer.json, for text.")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Use at most this many samples; default: 128, 1,024 with --train.")
    ] = None,
    scheme: Annotated[
        str | None, typer.Option("--scheme", help="static, dynamic, float16, bfloat16, weights-int8 or weights-int4.")
    ] = None,
    ranges: Annotated[
        str | None, typer.Option("--ranges", help="auto, min-max, moving-average, percentile, mse or entropy.")
    ] = None,
    plan: Annotated[Path | None, typer.Option("--plan", help="Apply this saved (and perhaps edited) plan.")] = None,
    exclude: Annotated[list[str] | None, typer.Option("--exclude", help="Do not quantize this node; may be repeated.")] = None,
    max_drop: Annotated[str | None, typer.Option("--max-drop", help="Largest loss of the metric: 0.5% or 0.005.")] = None,
    evaluate: Annotated[
        str | None, typer.Option("--evaluate", help="Samples for --max-drop, with labels or without; default: --calibration.")
    ] = None,
    task: Annotated[str | None, typer.Option("--task", help="What --max-drop is a loss of; default: by the labels.")] = None,
    train: Annotated[str | None, typer.Option("--train", help="Train through the quantizer for so long: 5m.")] = None,
    memory_limit: Annotated[str | None, typer.Option("--memory-limit", help="Memory for calibration, such as 500MB.")] = None,
    cache: Annotated[Path | None, typer.Option("--cache", help="Statistics to read, or to write if absent.")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Number of calibration processes.")] = None,
    ort_cache: Annotated[Path | None, typer.Option("--ort-cache", help="Also write the ranges for onnxruntime.")] = None,
    sensitivity: Annotated[bool, typer.Option("--sensitivity", help="Print the effect of each layer alone.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan with a reason for each decision.")] = False,
    form: Format = "table",
    changes: Set = None,
    quiet: Quiet = False,
) -> None:
    """Quantize to QDQ int8 for the target's kernels, or with another --scheme.

    Other options: --set, such as --set percentile=99.9. `--dry-run --format json` prints a plan for --plan.
    """
    from edgeopt.cli.options import need_format, read_calibration, read_options
    from edgeopt.cli.plan_tables import show_plan
    from edgeopt.cli.progress_bars import shown
    from edgeopt.cli.quantize_language import quantize_preset, refuse_others
    from edgeopt.quantize import QuantizeConfig, draft
    from edgeopt.quantize import quantize as run
    from edgeopt.targets.target import load_target

    need_format(form)
    if preset is not None:
        unread = (scheme, ranges, plan, max_drop, evaluate, memory_limit, cache, jobs, ort_cache, tokenizer, limit, task)
        refuse_others(preset, *unread, sensitivity or None, dry_run or None)
        chosen = {"exclude": exclude, "max_perplexity_increase": max_perplexity_increase, "train": _training(train)}
        with shown(quiet=quiet):
            quantize_preset(model, calibration, output, changes=changes, target=target, form=form, given=chosen)
        return
    given: dict[str, object] = {"scheme": scheme, "ranges": ranges, "plan": plan, "exclude": exclude, "max_drop": max_drop}
    given |= {"memory_limit_bytes": memory_limit, "cache": cache, "train": _training(train)}
    config = read_options(QuantizeConfig, changes, **given, jobs=jobs, sensitivity=sensitivity or None)
    _check(config, calibration, ort_cache, max_perplexity_increase, dry_run=dry_run)
    loaded_target = load_target(target)
    samples = read_calibration(calibration or "", tokenizer, model, task=task)
    judged = read_calibration(evaluate, tokenizer, model, task=task) if evaluate else None
    batches, measure = _data(config, samples, limit, loaded_target, _Judge(judged, task, model))
    with shown(quiet=quiet):
        if dry_run:
            show_plan(draft(model, batches, target=loaded_target, config=config, evaluate=measure), form)
            return
        place = _need(output)
        result = run(model, batches, target=loaded_target, output=place, config=config, evaluate=measure)
    _report(place, result, ort_cache, form)


def _training(time: str | None) -> dict[str, str] | None:
    """Return the options that --train stands for: a table, so that --set train.KEY goes into it."""
    return None if time is None else {"time": time}


def _need(output: Path | None) -> Path:
    from edgeopt.errors import RecipeError

    if output is None:
        raise RecipeError("--output is missing: name the file to write, or look at the plan first with --dry-run")
    return output


def _check(
    config: QuantizeConfig, calibration: str | None, ort_cache: Path | None, max_perplexity: str | None, *, dry_run: bool
) -> None:
    """Refuse options that do not go together, and no samples."""
    from edgeopt.errors import RecipeError

    if max_perplexity is not None:
        raise RecipeError("--max-perplexity-increase is for --preset llm; use --max-drop, or add the preset")
    if calibration is None:
        raise RecipeError("--calibration is missing: name samples (a file, a folder or a set); --preset llm alone needs none")
    if dry_run and config.sensitivity:
        raise RecipeError("--sensitivity measures the quantized model, which --dry-run does not make; leave one of them out")
    if ort_cache is not None and (dry_run or config.scheme != "static"):
        raise RecipeError("--ort-cache is written with a static int8 model: leave it out, or --dry-run and --scheme")


def _data(
    config: QuantizeConfig,
    samples: Samples,
    limit: int | None,
    target: Target,
    judge: _Judge,
) -> tuple[Batches, Evaluate | None]:
    """Return the calibration batches, and the metric where one is needed."""
    from edgeopt.cli.max_drop import metric
    from edgeopt.cli.options import checked_calibration

    batches = checked_calibration(samples, limit or (_TRAINED_SAMPLES if config.train else _SAMPLES)).batches(1)
    if config.max_drop is None and not (config.sensitivity and judge.samples):
        return batches, None
    return batches, metric(judge.samples or samples, target, judge.model, judge.task)


def _report(output: Path, result: QuantizeResult, ort_cache: Path | None, form: str) -> None:
    """Write the ranges for onnxruntime where they are wanted, and print warnings and facts."""
    from edgeopt.quantize.plan.ort_cache import write_ort_cache
    from edgeopt.quantize.plan.plan import load_plan

    if ort_cache is not None:
        write_ort_cache(load_plan(result.plan_path), ort_cache)
    for warning in result.facts.warnings:
        warn(warning)
    _show(output, result.facts, form)


def _show(output: Path, facts: QuantizeFacts, form: str) -> None:
    """Print the layers or, as JSON, all facts; and the summary, on stderr where stdout holds one of these."""
    from edgeopt.cli.plan_tables import show_layers

    if facts.sensitivity:
        show_layers(facts.sensitivity, form)
        if form == "table":
            worst = shell_word(facts.sensitivity[0].name)
            say_to_copy("to leave the worst of them in floating point, add", f"--exclude {worst}")
    elif form == "json":
        print_json({"output": str(output), **asdict(facts)})
    say(_summary(output, facts), err=form == "json" or (form != "table" and bool(facts.sensitivity)))


def _summary(output: Path, facts: QuantizeFacts) -> str:
    sizes = f"{facts.size_bytes_before / 1e6:.2f} → {facts.size_bytes_after / 1e6:.2f} MB"
    return f"{output}: {sizes}, {_covered(facts.coverage)}, {_kept(facts)}{facts.samples} samples"


def _kept(facts: QuantizeFacts) -> str:
    """Return what is left of the floating-point model's outputs."""
    parts = [] if facts.outputs_db is None else [f"outputs at {facts.outputs_db:.1f} dB SQNR"]
    if facts.agreement is not None:
        parts.append(f"{facts.agreement.same} of {facts.agreement.total} answers as in floating point")
    if facts.metric is not None:
        parts.append(facts.metric.text)
    return "".join(f"{part}, " for part in parts)


def _covered(coverage: Coverage) -> str:
    share, promised = coverage.int8_macs_share, coverage.quantized_macs_share
    if share is None and promised is None:
        return "no multiply-accumulates"
    if share is None:
        between = "between Q/DQ pairs" if coverage.promised == "Q/DQ pairs" else f"in {coverage.promised}"
        return f"{promised:.0%} of the multiply-accumulates {between} ({coverage.seen_in})"
    why = f" ({coverage.seen_in})" if promised is not None else ""
    return f"{share:.0%} of the multiply-accumulates in int8 kernels{why}"
