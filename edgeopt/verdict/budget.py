"""Budgets and their three-valued verdicts.

    p95_ms<=20 @99%        int8: size_mb<=4        cold_start_ms<=150        int8_macs_share>=0.9
    ttft_ms<=300           int4: tokens_per_s>=40  (how a language model generates)

A latency budget is a question about a quantile, answered by its one-sided bounds: `pass` if the upper bound meets the
limit, `fail` if the lower bound misses it, else `undecided`, with an estimate of the runs that would decide it. Both answers
are wrong with probability 1 - confidence at most, although the question is asked again while samples come in: look number k
spends error/(k(k+1)), which sums to the error over all looks (the union bound; see Lai, Annals of Statistics 4, 1976).

Sizes are exact. Load time, first run and peak memory are measured in a few fresh processes: all of them must agree.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, median

import numpy as np

from edgeopt.errors import RecipeError, nearest
from edgeopt.verdict.findings import Judgement, State
from edgeopt.verdict.order_statistics import Samples, quantile_bounds

_FORM = re.compile(
    r"^\s*(?:(?P<variant>[^:<>=]+?)\s*:)?\s*(?P<metric>[a-z_0-9.]+)\s*(?P<sign><=|>=|<|>)\s*(?P<limit>[-+]?[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?)"
    r"\s*(?:@\s*(?P<confidence>[0-9]+(?:\.[0-9]+)?)\s*%)?\s*$"
)
_ABOUT = re.compile(r"^(?:(?P<variant>.*\S)\s+)?on\s+(?P<target>[\w.-]+)$")
_SIGNS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
}
_SCALES: Mapping[str, tuple[str, float]] = {
    "size_bytes": ("size_bytes", 1.0),
    "size_kb": ("size_bytes", 1e3),
    "size_mb": ("size_bytes", 1e6),
    "peak_rss_bytes": ("peak_rss_bytes", 1.0),
    "peak_rss_mb": ("peak_rss_bytes", 1e6),
    "load_ms": ("load_ms", 1.0),
    "first_run_ms": ("first_run_ms", 1.0),
    "cold_start_ms": ("cold_start_ms", 1.0),
    "int8_macs_share": ("int8_macs_share", 1.0),
    "cpu_fallback_share": ("cpu_fallback_share", 1.0),
    "partitions": ("partitions", 1.0),
    "accuracy_drop": ("accuracy_drop", 1.0),
}
"""Budget metric → the figure it reads, and the factor between their units."""
_GENERATION: Mapping[str, tuple[str, float]] = {
    "ttft_ms": ("ttft_ms", 1.0),
    "prefill_tokens_per_s": ("prefill_tokens_per_s", 1.0),
    "tokens_per_s": ("tokens_per_s", 1.0),
    "inter_token_p50_ms": ("inter_token_p50_ms", 1.0),
    "inter_token_p95_ms": ("inter_token_p95_ms", 1.0),
    "inter_token_p99_ms": ("inter_token_p99_ms", 1.0),
    "rss_mb": ("rss_bytes", 1e6),
}
"""The same for budgets on how a language model generates."""
_FIGURES = {**_SCALES, **_GENERATION}


@dataclass(frozen=True)
class Budget:
    """One budget: `metric` `sign` `limit`, for one variant or (None) for every variant but the baseline.

    `accuracy_drop` is in percentage points and comes from the evaluation of the variants (`edgeopt.verdict.accuracy_drop`).
    """

    expression: str
    variant: str | None
    metric: str
    sign: str
    limit: float
    confidence: float
    asked: bool = False
    """The expression states its own confidence."""
    target: str | None = None
    """Target that the budget applies to; None: any."""

    @classmethod
    def parse(cls, expression: str, *, confidence: float = 0.95) -> Budget:
        """Read an expression such as ``"int8 on arm64: p95_ms<=20 @99%"``; without ``@``, `confidence` holds.

        The part before the colon is a variant, a target (``on arm64: …``), both, or absent.

        Raises:
            RecipeError: it has another form or an unknown metric.
        """
        found = _matched(expression, example="p95_ms<=20 @99%")
        metric = {"median_ms": "p50_ms"}.get(found["metric"], found["metric"])
        if _quantile(metric) is None:
            _check_metric(expression, metric, _SCALES, more=("p50_ms", "p90_ms", "p95_ms", "p99_ms"))
        sure = float(found["confidence"]) / 100 if found["confidence"] else confidence
        if not 0.5 <= sure < 1:
            raise RecipeError(f"budget '{expression}': confidence must be at least 50 % and below 100 %")
        about = _ABOUT.match(found["variant"] or "")
        variant, target = (about["variant"], about["target"]) if about else (found["variant"], None)
        asked = found["confidence"] is not None
        return cls(expression.strip(), variant, metric, found["sign"], float(found["limit"]), sure, asked, target)

    @classmethod
    def parse_generation(cls, expression: str) -> Budget:
        """Read a budget on how a language model generates, such as ``"int4: tokens_per_s>=40"``; `variant` is the model.

        Raises:
            RecipeError: it has another form, an unknown metric, or a confidence, which medians of a few prompts do not have.
        """
        found = _matched(expression, example="ttft_ms<=300' or 'int4: tokens_per_s>=40")
        _check_metric(expression, found["metric"], _GENERATION)
        if found["confidence"]:
            raise RecipeError(f"budget '{expression}': generation is judged by medians, without a confidence; leave out the @")
        return cls(expression.strip(), found["variant"], found["metric"], found["sign"], float(found["limit"]), 0.5)

    @property
    def quantile(self) -> float | None:
        """Return the quantile of a latency budget (0.95 for ``p95_ms``), None for any other."""
        return _quantile(self.metric)

    def holds(self, value: float) -> bool:
        """Return whether `value` meets the limit."""
        return _SIGNS[self.sign](value, self.limit)


def _matched(expression: str, *, example: str) -> re.Match[str]:
    found = _FORM.match(expression)
    if not found:
        raise RecipeError(f"budget '{expression}' is not understood; write METRIC<=NUMBER, such as '{example}'")
    return found


def _check_metric(expression: str, metric: str, figures: Mapping[str, object], *, more: Sequence[str] = ()) -> None:
    if metric not in figures:
        known = [*more, *figures]
        raise RecipeError(
            f"budget '{expression}': unknown metric '{metric}'{nearest(metric, known)}; allowed: {', '.join(known)}"
        )


def _quantile(metric: str) -> float | None:
    found = re.fullmatch(r"p([0-9]{1,2}(?:\.[0-9]+)?)_ms", metric)
    share = float(found[1]) / 100 if found else 0.0
    return share if share > 0 else None


def judge_latency(budget: Budget, variant: str, samples_ms: Samples, *, look: int = 1) -> Judgement:
    """Judge a latency budget by `samples_ms` (shape [n], in order); `look` counts the evaluations of it, from 1."""
    q = budget.quantile
    if q is None or len(samples_ms) == 0:
        return Judgement(budget.expression, variant, "undecided", None, "there are no samples")
    tail = (1 - budget.confidence) / (look * (look + 1))
    low, high = quantile_bounds(samples_ms, q, tail)
    value = float(np.quantile(samples_ms, q))
    sure = f"{100 * budget.confidence:.4g} % confidence in each direction, n = {len(samples_ms):,}"
    bounds = f"between {_number(low)} and {_number(high)} ms ({sure})"
    upper_limit = budget.sign in ("<=", "<")
    good, bad = (high, low) if upper_limit else (low, high)
    if good is not None and budget.holds(good):
        return Judgement(budget.expression, variant, "pass", value, bounds)
    if bad is not None and not budget.holds(bad):
        return Judgement(budget.expression, variant, "fail", value, bounds)
    more = _more_runs(samples_ms, q, budget.limit, tail)
    return Judgement(budget.expression, variant, "undecided", value, f"{bounds}; about {more:,} more runs needed", more)


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.4g}"


def _more_runs(samples_ms: Samples, q: float, limit: float, tail: float) -> int:
    """Estimate the missing runs: n at which the share of samples below the limit differs from q (normal approximation)."""
    n = len(samples_ms)
    apart = abs(float(np.mean(samples_ms <= limit)) - q)
    apart = max(apart, 0.5 / n)
    z = NormalDist().inv_cdf(1 - tail)
    return max(n, math.ceil(z * z * q * (1 - q) / apart**2) - n)


def judge_figures(budget: Budget, variant: str, figures: Sequence[float] | None, missing: str) -> Judgement:
    """Judge a budget on a figure that was measured a few times; all must agree. `missing` is the reason if there is none."""
    if not figures:
        return Judgement(budget.expression, variant, "undecided", None, missing)
    scaled = [figure / _FIGURES[budget.metric][1] for figure in figures]
    met = sum(budget.holds(value) for value in scaled)
    verdict: State = "pass" if met == len(scaled) else "fail" if met == 0 else "undecided"
    how = f"{met} of {len(scaled)} measurements meet it" if len(scaled) > 1 else f"it is {scaled[0]:.6g}"
    return Judgement(budget.expression, variant, verdict, float(median(scaled)), how)


def figure_name(budget: Budget) -> str:
    """Return the name of the figure that a budget reads, for budgets not about latency."""
    return _FIGURES[budget.metric][0]


def variants_of(budget: Budget, names: Sequence[str], references: Sequence[str] = ()) -> list[str]:
    """Return the variants a budget applies to; `names` starts with the baseline, `references` are only shown.

    Raises:
        RecipeError: it names a variant that is not there.
    """
    if budget.variant is None:
        judged = [name for name in names if name not in references]
        return judged[1:] or judged
    if budget.variant not in names:
        near = nearest(budget.variant, names)
        raise RecipeError(f"budget '{budget.expression}': no variant '{budget.variant}'{near}; there are: {', '.join(names)}")
    return [budget.variant]
