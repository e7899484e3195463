"""Profile generation: prefill, decoding by context, first and next tokens, memory, and the distance from the memory's limit.

For each context length a prompt of random tokens (another one each time, since a cache would flatter it) goes through the
graph, then tokens are decoded one by one. A decode step reads every weight and the whole cache once, so its least time is

    (bytes of weights + context · bytes of cache per token) / bandwidth

with the bandwidth that onnxruntime reaches here on a vector times a matrix far larger than any cache (the roofline).
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from pydantic import Field

from edgeopt import progress
from edgeopt.config import Options
from edgeopt.errors import RecipeError, nearest
from edgeopt.generate.engine.engine import Engine
from edgeopt.generate.faults import engine_errors
from edgeopt.generate.opening import open_engine
from edgeopt.graph import files
from edgeopt.graph.provider import Provider
from edgeopt.graph.session import open_session

_GEMV = (4096, 8192)  # 128 MiB of fp32
_GEMV_RUNS = 6
_BUDGET = re.compile(r"^\s*([a-z0-9_]+)\s*(<=|>=)\s*([0-9.]+)\s*$")


class GenerationConfig(Options):
    """How generation is measured."""

    contexts: list[int] = Field(default_factory=lambda: [128, 512, 1024], min_length=1)
    """Lengths of prompts."""
    tokens: int = Field(default=32, ge=4)
    """Tokens decoded after each prompt."""
    repeats: int = Field(default=3, ge=1)
    """Prompts of each length."""
    threads: int = Field(default=1, ge=1)
    """Threads of onnxruntime."""
    budget: list[str] = Field(default_factory=list)
    """Such as ``ttft_ms<=300`` or ``tokens_per_s>=40``; judged at the first context."""


@dataclass(frozen=True)
class ContextProfile:
    """Generation after prompts of one length."""

    context: int
    ttft_ms: float
    """Median time from the prompt to its first token."""
    prefill_tokens_per_s: float
    tokens_per_s: float
    """Median rate of decoding."""
    inter_token_p50_ms: float
    inter_token_p95_ms: float
    inter_token_p99_ms: float
    samples: int
    """Tokens that the percentiles are of."""
    rss_bytes: int | None
    """Memory of this process after the prompt and its answer."""
    cache_bytes: int
    bytes_per_token: int
    """Bytes of weights and cache that a step reads."""
    limit_tokens_per_s: float
    """What the memory's bandwidth allows."""


@dataclass(frozen=True)
class GenerationProfile:
    """Generation by context."""

    model: str
    threads: int
    weight_bytes: int
    bandwidth_bytes_per_s: float
    contexts: tuple[ContextProfile, ...]
    budgets: tuple[BudgetFinding, ...]

    @property
    def passed(self) -> bool:
        """Whether every budget is kept."""
        return all(finding.passed for finding in self.budgets)


@dataclass(frozen=True)
class BudgetFinding:
    """A budget and what was measured."""

    budget: str
    value: float
    passed: bool


def profile_generation(path: Path, *, config: GenerationConfig) -> GenerationProfile:
    """Return how fast the language model at `path` generates.

    Raises:
        ModelError: it is not a language model.
        RecipeError: a budget names something else, or a context is longer than the model's.
    """
    budgets = [_read_budget(text) for text in config.budget]
    engine = open_engine(path, threads=config.threads)
    longest = max(config.contexts) + config.tokens
    if longest > engine.described.context:
        raise RecipeError(f"contexts of {max(config.contexts)}: the model's context is {engine.described.context}")
    weights = _weight_bytes(engine.described.model)
    bandwidth = measure_bandwidth(config.threads)
    random = np.random.default_rng(0)
    found = []
    with engine_errors(), progress.task("generate", total=len(config.contexts)) as advance:
        _measure(engine, 16, config, random)  # warm-up
        for context in config.contexts:
            found.append(_context(engine, context, config, random, weights=weights, bandwidth=bandwidth))
            advance()
    judged = tuple(_judge(found[0], *budget) for budget in budgets)
    return GenerationProfile(str(path), config.threads, weights, bandwidth, tuple(found), judged)


def _context(
    engine: Engine, context: int, config: GenerationConfig, random: np.random.Generator, *, weights: int, bandwidth: float
) -> ContextProfile:
    runs = [_measure(engine, context, config, random) for _ in range(config.repeats)]
    first = float(np.median([run[0] for run in runs]))
    gaps = np.concatenate([run[1] for run in runs]) * 1e3
    cache = (context + config.tokens // 2) * engine.described.cache_bytes_per_token
    return ContextProfile(
        context=context,
        ttft_ms=1e3 * first,
        prefill_tokens_per_s=context / first,
        tokens_per_s=float(np.median([len(run[1]) / run[1].sum() for run in runs])),
        inter_token_p50_ms=float(np.quantile(gaps, 0.5)),
        inter_token_p95_ms=float(np.quantile(gaps, 0.95)),
        inter_token_p99_ms=float(np.quantile(gaps, 0.99)),
        samples=len(gaps),
        rss_bytes=_rss_bytes(),
        cache_bytes=(context + config.tokens) * engine.described.cache_bytes_per_token,
        bytes_per_token=weights + cache,
        limit_tokens_per_s=bandwidth / (weights + cache),
    )


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


_METRICS = ("ttft_ms", "prefill_tokens_per_s", "tokens_per_s", "inter_token_p50_ms", "inter_token_p95_ms", "inter_token_p99_ms")


def _read_budget(text: str) -> tuple[str, str, str, float]:
    found = _BUDGET.match(text)
    if found is None:
        raise RecipeError(
            f"budget '{text}' is not understood; write METRIC<=NUMBER, such as 'ttft_ms<=300' or 'tokens_per_s>=40'"
        )
    metric, sign, number = found.groups()
    allowed: Sequence[str] = (*_METRICS, "rss_mb")
    if metric not in allowed:
        raise RecipeError(
            f"budget '{text}': unknown metric '{metric}'{nearest(metric, allowed)}; of generation: {', '.join(allowed)}"
        )
    return text.strip(), metric, sign, float(number)


def _judge(measured: ContextProfile, text: str, metric: str, sign: str, number: float) -> BudgetFinding:
    value = (measured.rss_bytes or 0) / 1e6 if metric == "rss_mb" else float(getattr(measured, metric))
    return BudgetFinding(text, value, value <= number if sign == "<=" else value >= number)
