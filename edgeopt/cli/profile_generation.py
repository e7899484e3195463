"""`edgeopt profile FOLDER` of a language model: speed and memory of generation."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edgeopt import progress
from edgeopt.cli.output import print_json, say

if TYPE_CHECKING:
    import typer

    from edgeopt.profile.result import ContextProfile

_SAID = {"pass": "kept", "fail": "missed", "undecided": "undecided"}


def profile_folders(
    models: list[Path], budgets: list[str], *, changes: list[str] | None, undecided: str, form: str, quiet: bool
) -> int:
    """Measure language models one after the other, print the tables, and return the exit code."""
    from edgeopt.cli.options import need_format, read_options, read_undecided
    from edgeopt.cli.progress_bars import shown
    from edgeopt.cli.summary import UNDECIDED_FAILS
    from edgeopt.cli.tables import show
    from edgeopt.profile.config import GenerationConfig
    from edgeopt.profile.generation import budgets_for, profile_apart
    from edgeopt.verdict.exit_code import exit_code_of_budgets

    need_format(form)
    undecided_as = read_undecided(undecided)
    config = read_options(GenerationConfig, changes, budget=budgets or None)
    names = [model.name for model in models]
    chosen = [budgets_for(name, names, config.budget, unnamed=True) for name in names]
    found = []
    with shown(quiet=quiet), progress.task("generate", total=len(models)) as advance:
        for model, budget in zip(models, chosen, strict=True):
            found.append(profile_apart(model, config=config.model_copy(update={"budget": budget})))
            advance()
    if form == "json":
        print_json({"schema_version": 2, "kind": "generation", "models": [asdict(one) for one in found]})
    else:
        rows = [
            {
                "model": one.model,
                "context": str(row.context),
                "first token": f"{row.ttft_ms:.0f} ms",
                "prefill": f"{row.prefill_tokens_per_s:.0f} t/s",
                "decode": f"{row.tokens_per_s:.1f} t/s",
                "p50 / p95 / p99": _percentiles(row),
                "memory": "" if row.rss_bytes is None else f"{row.rss_bytes / 1e6:.0f} MB",
                "of the limit": f"{100 * row.share_of_limit:.0f} % of {row.limit_tokens_per_s:.0f} t/s",
            }
            for one in found
            for row in one.contexts
        ]
        show(rows, form, figures=True)
    for one in found:
        first = one.contexts[0]
        reads = (
            f"{one.weight_bytes / 1e6:.0f} MB of weights and {(first.bytes_per_token - one.weight_bytes) / 1e6:.1f} MB of cache"
        )
        memory = f"{one.bandwidth_bytes_per_s / 1e9:.1f} GB/s measured with {one.threads} thread(s)"
        say(
            f"{one.model}: a token reads {reads} at context {first.context}; {memory}; {first.samples} tokens measured",
            err=True,
        )
        for finding in one.budgets:
            say(f"{one.model}: budget {finding.expression} {_SAID[finding.verdict]}: {finding.reason}", err=True)
    judgements = [finding for one in found for finding in one.budgets]
    code = exit_code_of_budgets(judgements, undecided_as)
    if code and all(finding.verdict != "fail" for finding in judgements):
        say(UNDECIDED_FAILS, err=True)
    return code


def check_options(context: typer.Context, target: str) -> None:
    """Refuse options that generation does not take, and targets that are not this machine's CPU provider.

    Raises:
        RecipeError: naming them.
    """
    from edgeopt.cli.options import refuse_others
    from edgeopt.errors import RecipeError
    from edgeopt.profile.placement import CPU
    from edgeopt.targets.target import load_target

    taken = ("target", "budget", "changes", "undecided", "form", "quiet")
    refuse_others(context, ("models", *taken), "generation has prompts of its own (--set contexts=[128] sets their lengths)")
    found = load_target(target)
    if found.device.transport != "local" or found.device.launcher or found.provider.name != CPU:
        raise RecipeError(
            f"--target {target}: generation is measured on this machine with the CPU provider; leave it out, and run edgeopt "
            "profile on the device itself"
        )


def _percentiles(row: ContextProfile) -> str:
    return f"{row.inter_token_p50_ms:.1f} / {row.inter_token_p95_ms:.1f} / {row.inter_token_p99_ms:.1f} ms"
