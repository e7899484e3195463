"""`edgeopt quantize --preset llm`: the weights of a language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeopt.cli.output import print_json, say, warn

if TYPE_CHECKING:
    from edgeopt.quantize import LanguageFacts

PRESETS = ("llm",)


def refuse_others(preset: str, *options: object) -> None:
    """Refuse a preset there is not, and options that it does not take.

    Raises:
        RecipeError: naming what is allowed.
    """
    from edgeopt.errors import RecipeError, nearest

    if preset not in PRESETS:
        raise RecipeError(f"--preset {preset}{nearest(preset, PRESETS)}: must be {' or '.join(PRESETS)}")
    if any(option is not None for option in options):
        raise RecipeError(
            "--preset llm takes --calibration, --max-perplexity-increase, --train, --exclude, --set and --output; "
            "leave the others out"
        )


def quantize_preset(
    model: Path,
    text: str | None,
    output: Path | None,
    *,
    changes: Sequence[str] | None,
    target: str,
    form: str,
    given: Mapping[str, Any],
) -> None:
    """Quantize a decoder and print what it cost; `given` has options of the command that the preset takes, too."""
    from edgeopt.cli.options import read_options
    from edgeopt.errors import RecipeError
    from edgeopt.quantize import LanguageOptions, quantize_language_model
    from edgeopt.targets.target import load_target

    if output is None:
        raise RecipeError("--output is missing: name the folder to write")
    config = read_options(LanguageOptions, changes, **given)
    name = load_target(target).name
    result = quantize_language_model(model, None if text is None else Path(text), output=output, config=config, target=name)
    facts = result.facts
    for warning in facts.warnings:
        warn(warning)
    if form == "json":
        print_json({"output": str(output), **asdict(facts)})
    for line in _summary(output, facts):
        say(line, err=form == "json")


def _summary(output: Path, facts: LanguageFacts) -> list[str]:
    """Return sizes, perplexity and divergence, and what the guard saw, in a few lines."""
    found = facts.likelihood
    bits = [sum(bits == count for bits in facts.bits.values()) for count in (4, 8)]
    perplexity = f"perplexity {found.before:.2f} → {found.after:.2f} ({found.increase:+.1%}), " if facts.text else ""
    where = f"of {facts.text}" if facts.text else "that the model says itself; its perplexity takes text: --calibration TEXT"
    sizes = f"{facts.size_bytes_before / 1e6:.2f} → {facts.size_bytes_after / 1e6:.2f} MB"
    lines = [
        f"{output}: {sizes}, {bits[0]} matrices at 4 bits, {bits[1]} at 8",
        f"{perplexity}KL {found.kl:.4f}, same first choice {found.agreement:.1%} ({found.tokens:,} tokens {where})",
    ]
    if facts.guard is not None:
        kept = f"; kept at 8 bits: {', '.join(facts.guard.lifted)}" if facts.guard.lifted else ""
        lines.append(
            f"rounded activations: {facts.guard.equal} of {facts.guard.prompts} greedy texts equal, "
            f"{facts.guard.ties} part at a near tie{kept}"
        )
    return lines
