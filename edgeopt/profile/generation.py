"""Profile generation: prefill, decoding by context, first and next tokens, memory, and the distance from the memory's limit.

For each context length a prompt of random tokens (another one each time, since a cache would flatter it) goes through the
graph, then tokens are decoded one by one. A decode step reads every weight and the whole cache once, so its least time is

    (bytes of weights + context · bytes of cache per token) / bandwidth

with the bandwidth that onnxruntime reaches here on a vector times a matrix far larger than any cache (the roofline).
`profile_apart` measures in a process of its own, so that the memory is that of one model.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
from pydantic import TypeAdapter

from edgeopt import errors, progress
from edgeopt.errors import EdgeoptError, MachineError, RecipeError
from edgeopt.generate.engine.engine import Engine
from edgeopt.generate.faults import engine_errors
from edgeopt.generate.opening import open_engine
from edgeopt.graph import files
from edgeopt.graph.provider import Provider
from edgeopt.graph.session import open_session
from edgeopt.lifetime import run
from edgeopt.profile.config import GenerationConfig
from edgeopt.profile.result import ContextProfile, GenerationProfile
from edgeopt.verdict.budget import Budget, figure_name, judge_figures, variants_of
from edgeopt.verdict.findings import Judgement

_GEMV = (4096, 8192)  # 128 MiB of fp32
_GEMV_RUNS = 6
_RESULT = "profile"
_SECONDS_PER_TOKEN = 5.0
"""A process that takes longer for each token has hung."""


def profile_generation(path: Path, *, config: GenerationConfig) -> GenerationProfile:
    """Return how fast the language model at `path` generates.

    Raises:
        ModelError: it is not a language model.
        RecipeError: a budget names something else, or a context is longer than the model's.
    """
    budgets = [Budget.parse_generation(text) for text in config.budget]
    engine = open_engine(path, threads=config.threads)
    longest = max(config.contexts) + config.tokens
    if longest > engine.described.context:
        raise RecipeError(f"contexts of {max(config.contexts)}: the model's context is {engine.described.context}")
    random = np.random.default_rng(0)
    found = []
    with engine_errors(), progress.task("generate", total=len(config.contexts)) as advance:
        _measure(engine, 16, config, random)  # warm-up
        for context in config.contexts:
            found.append(_context(engine, context, config, random))
            advance()
    weights, bandwidth = _weight_bytes(engine.described.model), measure_bandwidth(config.threads)
    rows = tuple(_limited(row, weights, bandwidth) for row in found)
    judged = tuple(_judge(rows[0], budget, str(path)) for budget in budgets)
    return GenerationProfile(str(path), config.threads, weights, bandwidth, rows, judged)


def profile_apart(path: Path, *, config: GenerationConfig, name: str | None = None) -> GenerationProfile:
    """Return `profile_generation`, measured in a process of its own; `name` is what the model is called, None: its path.

    Raises:
        EdgeoptError: as `profile_generation`.
        MachineError: the process did not end.
    """
    patience = 60 + _SECONDS_PER_TOKEN * config.repeats * sum(context + config.tokens for context in config.contexts)
    command = [sys.executable, "-P", "-m", __name__, str(path), config.model_dump_json()]
    try:
        done = run(command, timeout_s=patience)
    except subprocess.TimeoutExpired as error:
        raise MachineError(f"{path}: generating was not measured within {patience:.0f} s") from error
    kind, _, text = (done.stdout.strip().splitlines() or [""])[-1].partition(" ")
    if kind == _RESULT:
        found = TypeAdapter(GenerationProfile).validate_json(text)
        called = name or str(path)
        return replace(found, model=called, budgets=tuple(replace(one, variant=called) for one in found.budgets))
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    raise getattr(errors, kind or "MachineError", MachineError)(text or f"{path}: generating was not measured: {last}")


def budgets_for(name: str, names: Sequence[str], budgets: Sequence[str], *, unnamed: bool) -> list[str]:
    """Return the budgets that apply to the model `name`: those that name it, and those without a name where `unnamed` says so.

    Raises:
        RecipeError: a budget names no model.
    """
    read = [Budget.parse_generation(text) for text in budgets]
    return [one.expression for one in read if (unnamed if one.variant is None else name in variants_of(one, names))]


def _context(engine: Engine, context: int, config: GenerationConfig, random: np.random.Generator) -> ContextProfile:
    runs = [_measure(engine, context, config, random) for _ in range(config.repeats)]
    first = float(np.median([seconds for seconds, _ in runs]))
    gaps = np.concatenate([between for _, between in runs]) * 1e3
    return ContextProfile(
        context=context,
        ttft_ms=1e3 * first,
        prefill_tokens_per_s=context / first,
        tokens_per_s=float(np.median([len(between) / between.sum() for _, between in runs])),
        inter_token_p50_ms=float(np.quantile(gaps, 0.5)),
        inter_token_p95_ms=float(np.quantile(gaps, 0.95)),
        inter_token_p99_ms=float(np.quantile(gaps, 0.99)),
        samples=len(gaps),
        rss_bytes=_rss_bytes(),
        cache_bytes=(context + config.tokens) * engine.described.cache_bytes_per_token,
        bytes_per_token=(context + config.tokens // 2) * engine.described.cache_bytes_per_token,
        limit_tokens_per_s=0.0,
    )


def _limited(row: ContextProfile, weights: int, bandwidth: float) -> ContextProfile:
    """Return a row with the weights among the bytes of a step, and with what the memory's bandwidth allows."""
    step = weights + row.bytes_per_token
    return replace(row, bytes_per_token=step, limit_tokens_per_s=bandwidth / step)


def _measure(
    engine: Engine, context: int, config: GenerationConfig, random: np.random.Generator
) -> tuple[float, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Return seconds to the first token, and between the next ones."""
    cache = engine.cache(1, context + config.tokens)
    prompt = random.integers(0, engine.vocabulary, context).tolist()
    start = time.perf_counter()
    logits = None
    for place in range(0, context, 256):
        logits = cache.extend(0, prompt[place : place + 256])
    token = int(logits[-1].argmax()) if logits is not None else 0
    times = [time.perf_counter()]
    for _ in range(config.tokens):
        token = int(cache.step([token])[0].argmax())
        times.append(time.perf_counter())
    return times[0] - start, np.diff(times)


def measure_bandwidth(threads: int) -> float:
    """Return the bytes per second that onnxruntime reads for a vector times a large matrix."""
    rows, columns = _GEMV
    a = ir.Value(name="a", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape((1, rows)))
    c = ir.Value(name="c", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape((1, columns)))
    b = ir.Value(name="b", const_value=ir.tensor(np.ones((rows, columns), np.float32), name="b"))
    graph = ir.Graph(
        [a], [c], nodes=[ir.node("MatMul", [a, b], outputs=[c])], initializers=[b], opset_imports={"": 17}, name="gemv"
    )
    session = open_session(files.serialized(ir.Model(graph, ir_version=8)), Provider(threads=threads))
    times = []
    for _ in range(_GEMV_RUNS):
        start = time.perf_counter()
        session.run(None, {"a": np.ones((1, rows), np.float32)})
        times.append(time.perf_counter() - start)
    return rows * columns * 4 / min(times)


def _weight_bytes(model: Path) -> int:
    """Return the bytes of the weights that a step reads: all but rows of tables that are only looked up."""
    graph = files.load(model).graph
    looked_up = {
        node.inputs[0].name
        for node in graph
        if node.op_type in ("Gather", "GatherBlockQuantized") and node.inputs[0] is not None
    }
    multiplied = {
        value.name for node in graph if node.op_type not in ("Gather", "GatherBlockQuantized") for value in node.inputs if value
    }
    return sum(
        value.const_value.nbytes
        for name, value in graph.initializers.items()
        if value.const_value is not None and (name not in looked_up or name in multiplied)
    )


def _rss_bytes() -> int | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith("VmRSS:")), None)
    return int(found.split()[1]) * 1024 if found else None


def _judge(measured: ContextProfile, budget: Budget, model: str) -> Judgement:
    value = getattr(measured, figure_name(budget))
    found = judge_figures(budget, model, None if value is None else [float(value)], "this system does not tell it")
    how = found.reason if value is None else f"{found.value:.1f} after a prompt of {measured.context} tokens"
    return replace(found, reason=how)


def main() -> None:
    """Measure the model named first with the options given as JSON; print the profile, or the error, in one line."""
    try:
        found = profile_generation(Path(sys.argv[1]), config=GenerationConfig.model_validate_json(sys.argv[2]))
    except EdgeoptError as error:
        sys.stdout.write(f"{type(error).__name__} {error}\n")
        sys.exit(2)
    sys.stdout.write(f"{_RESULT} {TypeAdapter(GenerationProfile).dump_json(found).decode()}\n")


if __name__ == "__main__":
    main()
