"""`edgeopt profile FOLDER` of a language model: speed and memory of generation."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edgeopt import progress
from edgeopt.cli.output import print_json, say

if TYPE_CHECKING:
    from edgeopt.profile.result import ContextProfile


def profile_folders(models: list[Path], *, budgets: list[str], changes: list[str] | None, form: str, quiet: bool) -> int:
    """Measure language models one after the other, print the tables, and return the exit code."""
    from edgeopt.cli.options import need_format, read_options
    from edgeopt.cli.progress_bars import shown
    from edgeopt.cli.tables import show
    from edgeopt.profile.config import GenerationConfig
    from edgeopt.profile.generation import budgets_for, profile_apart

    need_format(form)
    config = read_options(GenerationConfig, changes, budget=budgets or None)
    names = [model.name for model in models]
    chosen = [budgets_for(name, names, config.budget, unnamed=True) for name in names]
    found = []
    with shown(quiet=quiet), progress.task("generate", total=len(models)) as advance:
        for model, budget in zip(models, chosen, strict=True):
            found.append(profile_apart(model, config=config.model_copy(update={"budget": budget})))
            advance()
    if form == "json":
        print_json({"schema_version": 1, "kind": "generation", "models": [asdict(one) for one in found]})
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
            verdict = "kept" if finding.passed else "missed"
            say(f"{one.model}: budget {finding.budget} {verdict}: {finding.value:.1f}", err=True)
    return 0 if all(one.passed for one in found) else 1


def _percentiles(row: ContextProfile) -> str:
    return f"{row.inter_token_p50_ms:.1f} / {row.inter_token_p95_ms:.1f} / {row.inter_token_p99_ms:.1f} ms"
