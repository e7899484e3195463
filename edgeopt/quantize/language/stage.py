"""The preset ``llm``: a decoder as `export` writes it, in; a folder that generates text, out.

1. Every matrix of the body as 4-bit blocks, head and embedding as blocks of 4 or 8 bits (one tensor where they are one),
   products at accuracy level 4, for which there are fast kernels.
2. Error feedback (gptq), or inputs scaled by their size (awq), or blocks alone. What is calibrated on is the text, or, without
   one, text that the model writes itself. Perplexity and divergence are measured on other parts of the text; without one,
   divergence alone, on what the model says after a few prompts.
3. Layers at 8 bits that a bound on the perplexity, or the guard against flipped tokens, asks for.
4. Graph, weights, tokenizer, ``generation.json``, ``genai_config.json``, the plan and ``model.quality.json`` are written.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgeopt.errors import ModelError, RecipeError, nearest
from edgeopt.extras import need
from edgeopt.files import disk_errors, write_aside
from edgeopt.graph import files
from edgeopt.graph.cached_decoder import greedy
from edgeopt.graph.editing import sort_nodes
from edgeopt.graph.genai import write_genai_config
from edgeopt.graph.generation import Generation
from edgeopt.graph.requirements import note_minimum
from edgeopt.graph.session import SessionConfig, open_model
from edgeopt.quantize.language.awq import scale_inputs
from edgeopt.quantize.language.builder import Builder
from edgeopt.quantize.language.config import LanguageOptions
from edgeopt.quantize.language.guard import Guarded, guard
from edgeopt.quantize.language.layers import Rounded, find_layers, give_own_constants
from edgeopt.quantize.language.moments import input_moments
from edgeopt.quantize.language.own_text import find_separator, write_own_text
from edgeopt.quantize.language.search import Measures, grouped, lift_layers
from edgeopt.quantize.language.text import (
    WINDOW,
    Likelihood,
    Reader,
    Tokens,
    Windows,
    compare,
    own_prompts,
    read_windows,
    spread,
)
from edgeopt.quantize.plan.cause import Cause
from edgeopt.quantize.plan.plan import Decision, NodePlan, Plan, save_plan
from edgeopt.quantize.prepare import refuse_quantized
from edgeopt.quantize.schemes.gemms import split_gemms
from edgeopt.quantize.schemes.scheme import uniform

_DEFAULTS = LanguageOptions()
_BESIDE = ("*.json", "*.txt", "*.model", "*.jinja")
_OURS = ("generation.json", "genai_config.json", ".plan.json", ".quality.json")
_OWN_STEPS = 32
_OWN_WINDOWS = 2
"""Windows that the model writes for each one of a text."""
_SENSITIVITY_WINDOWS = 2
_METHODS = {
    "rtn": "each weight to the nearest point of its block's grid",
    "search": "each block's scale by least squares over several grids",
    "hqq": "zero points that make large errors few",
    "awq": "inputs scaled by their size, which the layer before takes back; then as search",
    "gptq": "later weights make up for the errors of earlier ones",
}


@dataclass(frozen=True)
class Text:
    """Windows to calibrate and train on and others to measure on, and where they come from."""

    calibration: list[Tokens]
    training: list[Tokens]
    measured: list[Tokens]
    name: str | None


@dataclass(frozen=True)
class LanguageFacts:
    """What the preset did to a language model."""

    size_bytes_before: int
    size_bytes_after: int
    bits: Mapping[str, int]
    likelihood: Likelihood
    guard: Guarded | None
    text: str | None
    lifted: tuple[str, ...]
    decisions: tuple[Decision, ...]
    warnings: tuple[str, ...]
    min_onnxruntime: str | None


@dataclass(frozen=True)
class LanguageResult:
    """The files that were written, and what is to be known of them."""

    path: Path
    files: tuple[Path, ...]
    facts: LanguageFacts


def quantize_language_model(
    model: Path, text: Path | Windows | None, *, output: Path, config: LanguageOptions = _DEFAULTS, target: str = "host"
) -> LanguageResult:
    """Quantize the weights of the decoder at `model` and write it to `output`.

    Args:
        model: an exported decoder in floating point, ``generation.json`` beside it.
        text: plain text to calibrate and measure on, or its tokens; None: text that the model writes itself.
        output: a folder, or a path that ends in ``.onnx``; the other files stand beside that.
        config: the options.
        target: name that the plan is for.

    Raises:
        ModelError: the file is no decoder, or quantized already.
        DataError: the text is missing or too short.
        RecipeError: a bound on the perplexity has no text, a training no 4-bit weights, or an option names no node.
    """
    if model.is_dir():
        model = model / "model.onnx"
    facts = Generation.beside(model)
    loaded = _loaded(model)
    table_bits = 8 if config.head_bits == "auto" else config.head_bits
    builder = Builder(loaded, config.block_size, config.head_block_size, "rtn", table_bits=table_bits)
    length = min(WINDOW, facts.context)
    chosen = _read(text, model.parent, config, length=length)
    method = _method(config, chosen)
    bits = _bits(loaded, config, method, has_text=text is not None)
    _check_training(config, bits)
    _check_windows(config, chosen, length)
    threads = config.threads
    if text is None and (method in {"gptq", "awq"} or config.train is not None):
        own = _written(loaded, facts, config, find_separator(model.parent, facts))
        chosen = replace(chosen, calibration=own, training=own)
    if chosen.calibration and method in {"gptq", "awq", "search"}:
        builder.moments = input_moments(loaded, facts, chosen.calibration, threads=threads)
        if method == "awq":
            builder.model = scale_inputs(loaded, builder.moments, block=config.block_size)
            builder.moments = {}
    builder.rounding = "search" if method in {"gptq", "awq"} else method  # type: ignore[assignment]  # (auto is resolved)
    builder.feedback = method == "gptq"
    exact = Reader(loaded, facts, threads=threads)
    if not chosen.measured:
        chosen = replace(chosen, measured=_own_text(loaded, facts, model.parent, threads))
    resumable = _resumable(config, _file(output))
    trained = _trained(builder, bits, exact, text=chosen, facts=facts, config=resumable)
    made = _build(builder, bits, exact, text=chosen, facts=facts, config=config)
    made = replace(made, decisions=(*trained, *made.decisions))
    head = next((made.bits[layer.name] for layer in find_layers(loaded) if layer.head and layer.name in made.bits), 8)
    made = replace(made, decisions=(*_decisions(made.bits, head, config, method), *made.decisions))
    written = _write(made, facts, model, output, text=chosen, target=target)
    if resumable.train is not None:
        resumable.train.remove_checkpoints()
    return written


@dataclass(frozen=True)
class _Made:
    model: ir.Model
    bits: dict[str, int]
    likelihood: Likelihood
    guard: Guarded | None
    lifted: tuple[str, ...]
    decisions: tuple[Decision, ...]
    warnings: tuple[str, ...]


def _loaded(path: Path) -> ir.Model:
    loaded = files.load(path)
    refuse_quantized(loaded, str(path))
    sort_nodes(loaded)
    split_gemms(loaded, (), smallest=1 << 10)
    give_own_constants(loaded)
    return loaded


def _read(text: Path | Windows | None, folder: Path, config: LanguageOptions, *, length: int) -> Text:
    """Return windows of the text, of at most `length` tokens: those measured come from its last fifth."""
    if text is None:
        return Text([], [], [], None)
    given = text.windows if isinstance(text, Windows) else read_windows(text, folder, length=length)
    windows = [window[:length] for window in given]
    start = max(1, _before_measured(len(windows))) if len(windows) > 1 else 0
    return Text(
        spread(windows[:start] or windows, config.calibration_windows),
        windows[:start] if config.train is not None else [],
        spread(windows[start:], config.measured_windows),
        text.name,
    )


def _before_measured(count: int) -> int:
    """Return how many of a text's windows come before those that are measured on."""
    return count * 4 // 5


def _method(config: LanguageOptions, text: Text) -> str:
    """Return the method to use.

    Raises:
        RecipeError: the bound on the perplexity needs text.
    """
    if config.max_perplexity_increase is not None and text.name is None:
        raise RecipeError(
            "max_perplexity_increase needs text: give --calibration TEXT.txt (a few thousand words of what the model will read)"
        )
    if config.method == "auto":
        return "rtn" if config.body_bits == 8 else "gptq"
    return config.method


def _check_training(config: LanguageOptions, bits: Mapping[str, int]) -> None:
    """Refuse a training that has nothing to train.

    Raises:
        RecipeError: naming what is missing.
    """
    if config.train is not None and 4 not in bits.values():
        rest = "body_bits = 8 leaves none" if config.body_bits == 8 else "`exclude` leaves none"
        raise RecipeError(f"--train trains 4-bit weights, and {rest}; leave one of them out")


def _check_windows(config: LanguageOptions, text: Text, length: int) -> None:
    """Refuse a text that is too short to train on, before anything is calibrated.

    Raises:
        RecipeError: naming how long it must be.
    """
    if config.train is None or text.name is None or len(text.training) > config.train.batch_size:
        return
    enough = next(count for count in itertools.count(1) if _before_measured(count) > config.train.batch_size)
    raise RecipeError(
        f"--train: {text.name} has {len(text.training)} windows to train on, four fifths of it, and more than one batch of "
        f"{config.train.batch_size} is needed; give a text of {enough} windows of {length} tokens at least"
    )


def _bits(model: ir.Model, config: LanguageOptions, method: str, *, has_text: bool) -> dict[str, int]:
    """Return the bits of each matrix, by the name of its node."""
    layers = find_layers(model)
    names = [layer.name for layer in layers]
    if not names:
        raise ModelError("the model has no product by a large constant matrix: there is nothing to quantize")
    for name in config.exclude:
        if name not in names:
            raise RecipeError(f"exclude: '{name}'{nearest(name, names)} is not a product by a constant matrix of this model")
    head = config.head_bits
    if head == "auto":
        head = 4 if method == "gptq" and has_text and config.body_bits == 4 else 8
    kept = {layer.name: head if layer.head else config.body_bits for layer in layers}
    return {name: bits for name, bits in kept.items() if name not in config.exclude}


def _written(model: ir.Model, facts: Generation, config: LanguageOptions, first: int | None) -> list[Tokens]:
    """Return text that the floating-point model writes, for calibration: it takes more than of real text."""
    session = open_model(model, config=SessionConfig(threads=config.threads))
    return write_own_text(session, facts, count=_OWN_WINDOWS * config.calibration_windows, first=first)


def _own_text(model: ir.Model, facts: Generation, folder: Path, threads: int) -> list[Tokens]:
    """Return what the floating-point model says after a few prompts, with them."""
    session = open_model(model, config=SessionConfig(threads=threads))
    prompts = own_prompts(folder, facts.vocabulary)
    steps = max(min(_OWN_STEPS, facts.context - max(map(len, prompts))), 1)
    return [np.concatenate([prompt, np.array(greedy(session, facts, prompt, steps=steps)[0], np.int64)]) for prompt in prompts]


def _resumable(config: LanguageOptions, path: Path) -> LanguageOptions:
    """Return the options with a place for the state of the training, beside the output where they name none."""
    if config.train is None or config.train.checkpoint is not None:
        return config
    train = config.train.model_copy(update={"checkpoint": path.with_name(f"{path.name}.training")})
    return config.model_copy(update={"train": train})


def _trained(
    builder: Builder, bits: dict[str, int], exact: Reader, *, text: Text, facts: Generation, config: LanguageOptions
) -> list[Decision]:
    """Train the 4-bit weights, if the options say so; they stay as they were where the measured windows gain nothing."""
    if config.train is None:
        return []
    need("torch", purpose="--train")
    from edgeopt.quantize.language.training import train_weights

    model = builder.model
    starts = [Rounded(layer, builder.blocks(layer, 4)) for layer in find_layers(model) if bits.get(layer.name) == 4]
    before = compare(exact, Reader(builder.build(bits), facts, threads=config.threads), text.measured)
    made = train_weights(model, starts, facts, text.training, options=config.train)
    builder.model = made.model
    builder.replace(made.blocks)
    after = compare(exact, Reader(builder.build(bits), facts, threads=config.threads), text.measured)
    reason = f"perplexity {before.increase:+.1%} becomes {after.increase:+.1%}, KL {before.kl:.4f} becomes {after.kl:.4f}"
    if after.kl < before.kl:
        return [Decision("training", f"{len(starts)} matrices, {len(text.training)} windows", reason)]
    builder.model = model
    builder.replace({one.layer.name: one.blocks for one in starts})
    return [Decision("training", "as calibrated", f"training for {config.train.time:g} s gained nothing: {reason}")]


def _build(
    builder: Builder, bits: dict[str, int], exact: Reader, *, text: Text, facts: Generation, config: LanguageOptions
) -> _Made:
    """Build the model, with layers at 8 bits where the bound or the guard asks for it, and measure it."""

    def open_reader(model: ir.Model) -> Reader:
        return Reader(model, facts, threads=config.threads)

    def measure(model: ir.Model) -> Likelihood:
        return compare(exact, open_reader(model), text.measured)

    groups = grouped([layer for layer in find_layers(builder.model) if layer.name in bits])
    model = builder.build(bits)
    likelihood, seen, warnings, decisions = measure(model), None, list[str](), list[Decision]()
    lifts: tuple[str, ...] = ()
    bound = config.max_perplexity_increase
    head = {layer.name: 8 for layer in find_layers(builder.model) if layer.head and bits.get(layer.name) == 4}
    if bound is not None and likelihood.increase > bound and head and config.head_bits == "auto":
        bits = bits | head
        likelihood = measure(builder.build(bits))
        decisions.append(Decision("head at 8 bits", ", ".join(head), f"perplexity at most {bound:.1%} higher"))
    if bound is not None and likelihood.increase > bound:
        part = text.measured[:_SENSITIVITY_WINDOWS]
        found = lift_layers(builder, bits, Measures(exact, part, measure, open_reader), bound=bound)
        lifts, likelihood = found.groups, found.likelihood
        bits = bits | {name: 8 for group in lifts for name in groups[group]}
        decisions.append(Decision("layers at 8 bits", ", ".join(lifts), f"perplexity at most {bound:.1%} higher"))
        if not found.held:
            warnings.append(
                f"perplexity is {likelihood.increase:.1%} higher with all layers at 8 bits; {bound:.1%} was allowed"
            )
    if config.guard_prompts:
        prompts = _prompts(text, config.guard_prompts)
        seen, bits = guard(bits, groups, facts, prompts, build=builder.build, threads=config.threads)
        if seen.lifted:
            decisions.append(Decision("layers at 8 bits", ", ".join(seen.lifted), "rounded activations flipped tokens"))
            lifts = (*lifts, *seen.lifted)
    model = builder.build(bits)
    if seen is not None and seen.lifted:
        likelihood = measure(model)
    return _Made(model, bits, likelihood, seen, lifts, tuple(decisions), tuple(warnings))


def _prompts(text: Text, count: int) -> list[Tokens]:
    """Return the beginnings of some windows as prompts."""
    return [tokens[: min(16, len(tokens) // 2)] for tokens in spread(text.measured, count)]


def _decisions(bits: Mapping[str, int], head: int, config: LanguageOptions, method: str) -> tuple[Decision, ...]:
    low, high = sum(found == 4 for found in bits.values()), sum(found == 8 for found in bits.values())
    return (
        Decision("weights", f"{low} matrices at 4 bits, {high} at 8, blocks of {config.block_size}", _METHODS[method]),
        Decision("kernels", "MatMulNBits, accuracy level 4", "level 0 has no fast kernels on CPUs, for 8 bits none at all"),
        Decision("embedding", f"{head} bits", "one tensor for embedding and head, where the model ties them"),
    )


def _file(output: Path) -> Path:
    return output if output.suffix == ".onnx" else output / "model.onnx"


def _write(made: _Made, facts: Generation, source: Path, output: Path, *, text: Text, target: str) -> LanguageResult:
    path = _file(output)
    if path.resolve() == source.resolve():
        raise RecipeError(f"--output {output}: is the model itself; name another folder")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    oldest = note_minimum(made.model)
    written = files.save(made.model, path, external=True)
    described = facts.model_copy(update={"model": path.name})
    written += [*_copied(source.parent, path.parent), described.write(path.parent), write_genai_config(described, path.parent)]
    nodes = [
        NodePlan(name, "MatMul", "int8" if bits == 8 else "int4", "float", Cause.WEIGHTS_ALONE)
        for name, bits in made.bits.items()
    ]
    plan = Plan(target, uniform("float32", "int4", per_channel=True), tuple(nodes), (), made.decisions)
    written.append(save_plan(plan, path))
    written.append(_write_quality(made, text, path))
    result = LanguageFacts(
        files.size_bytes(source),
        files.size_bytes(path),
        made.bits,
        made.likelihood,
        made.guard,
        text.name,
        made.lifted,
        made.decisions,
        made.warnings,
        oldest,
    )
    return LanguageResult(path, tuple(written), result)


def _copied(source: Path, folder: Path) -> list[Path]:
    """Copy tokenizer and configuration files, where the folder is another one."""
    copied: list[Path] = []
    if source.resolve() == folder.resolve():
        return copied
    for file in sorted({file for pattern in _BESIDE for file in source.glob(pattern)}):
        if not file.name.endswith(_OURS):
            with disk_errors(folder / file.name), write_aside(folder / file.name) as aside:
                shutil.copyfile(file, aside)
            copied.append(folder / file.name)
    return copied


def _write_quality(made: _Made, text: Text, path: Path) -> Path:
    """Write ``<name>.quality.json``: perplexity, divergence and the guard's findings."""
    likelihood = made.likelihood
    values = {
        "version": 1,
        "text": text.name,
        "tokens": likelihood.tokens,
        "perplexity": {"before": likelihood.before, "after": likelihood.after} if text.name is not None else None,
        "kl": likelihood.kl,
        "agreement": likelihood.agreement,
        "guard": asdict(made.guard) if made.guard is not None else None,
        "lifted": list(made.lifted),
    }
    quality = path.with_name(f"{path.stem}.quality.json")
    with write_aside(quality) as aside:
        aside.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    return quality
