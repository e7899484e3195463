"""Comparison of two profiles of the same variants, taken at different times: find what became worse.

Idea. The profiles were not interleaved, so only what their own intervals prove counts. Of each variant's quantiles, the
one-sided bounds are taken with error e/2 on either side; a regression is a lower bound of the new one above the upper bound
of the old one, by more than the margin by which two sessions of one file differ anyway. If nothing changed, that happens
with probability e at most; with e = rate / number of checks, all of them together raise a false alarm at most as often as
`false_alarm_rate` says (Bonferroni). Sizes and counts are exact: any growth beyond their margin counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeopt.config import Options
from edgeopt.documents import read_json
from edgeopt.errors import DataError
from edgeopt.verdict.changes import Change, Finding, Regressions
from edgeopt.verdict.order_statistics import quantile_bounds

__all__ = ["Change", "CompareConfig", "Finding", "Regressions", "compare", "read_profile"]

_QUANTILES: Mapping[str, float] = {"p50_ms": 0.5, "p95_ms": 0.95}
_EXACT: Mapping[str, int] = {"size_bytes": 1, "macs": 1, "int8_macs_share": -1}
"""Figures that are the same each time, and whether more (1) or less (-1) is worse."""
_SETTING = ("target", "provider", "threads", "batches")
_OF_LATENCY = {"device": "on different devices", "threads": "with different numbers of threads", "inputs": "on other inputs"}
"""What must be equal for latencies to be compared, and where it is not."""


_Number = Annotated[float, Field(allow_inf_nan=False)] | None


class _Variant(BaseModel):
    """What is read of a variant; other keys are ignored."""

    model_config = ConfigDict(strict=True)

    name: str
    samples_ms: list[Annotated[float, Field(allow_inf_nan=False)]]
    size_bytes: _Number = None
    macs: _Number = None
    int8_macs_share: _Number = None
    peak_rss_bytes: _Number = None


class _Profile(BaseModel):
    """What is read of a profile; other keys are ignored."""

    model_config = ConfigDict(strict=True)

    variants: list[_Variant]
    versions: dict[str, Any] = Field(default_factory=dict)
    inputs: dict[str, list[str]] = Field(default_factory=dict)


class CompareConfig(Options):
    """How certain and how large a change must be to count."""

    false_alarm_rate: float = Field(default=0.05, gt=0, lt=0.5)
    """Largest share of comparisons of equal profiles that may report a change of latency."""
    margin: float = Field(default=0.05, ge=0)
    """Smallest relative change that counts; two sessions of one file differ by a few percent."""


def read_profile(path: Path) -> dict[str, Any]:
    """Read a profile as ``edgeopt profile --format json`` writes it.

    Raises:
        DataError: it is not one.
    """
    values = read_json(path, error=DataError, what="a profile")
    if not isinstance(values, dict) or not isinstance(values.get("variants"), list) or "target" not in values:
        raise DataError(f"{path}: not a profile: it has no 'variants'; give a file that 'edgeopt profile --format json' wrote")
    try:
        _Profile.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise DataError(f"{path}: not a profile: {key}: {first['msg']}; write it again with edgeopt profile") from error
    return values


def compare(base: Mapping[str, Any], new: Mapping[str, Any], *, config: CompareConfig = CompareConfig()) -> Regressions:
    """Compare two profiles (`ProfileResult.facts()`), variant by variant.

    Raises:
        DataError: they have no variant in common.
    """
    before = {variant["name"]: variant for variant in base["variants"]}
    pairs = [(before[variant["name"]], variant) for variant in new["variants"] if variant["name"] in before]
    if not pairs:
        raise DataError(
            f"the two profiles share no variant: {sorted(before)} against {sorted(v['name'] for v in new['variants'])}"
        )
    notes = list(_notes(base, new, before))
    error = config.false_alarm_rate / (len(pairs) * len(_QUANTILES))
    differs = next((why for key, why in _OF_LATENCY.items() if key in base and key in new and base[key] != new[key]), None)
    changes = [
        change
        for old, now in pairs
        for change in (*_latencies(old, now, error, config.margin, differs=differs), *_exact(old, now, config.margin))
    ]
    return Regressions.of(config.false_alarm_rate, changes, notes)


def _notes(base: Mapping[str, Any], new: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[str]:
    for key in _SETTING:
        if base.get(key) != new.get(key):
            yield f"{key} differs: {base.get(key)} then, {new.get(key)} now"
    if base.get("device") != new.get("device"):
        yield "the device differs: latencies are not compared"
    if "inputs" in base and "inputs" in new and base["inputs"] != new["inputs"]:
        yield f"the inputs differ: {_shapes(base['inputs'])} then, {_shapes(new['inputs'])} now"
    for name, version in sorted(new.get("versions", {}).items()):
        if base.get("versions", {}).get(name) != version:
            yield f"{name} {base.get('versions', {}).get(name)} then, {version} now"
    gone = sorted(set(before) - {variant["name"] for variant in new["variants"]})
    if gone:
        yield f"not in the new profile: {', '.join(gone)}"


def _shapes(inputs: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} {' or '.join(map(str, shapes))}" for name, shapes in inputs.items())


def _latencies(
    old: Mapping[str, Any], now: Mapping[str, Any], error: float, margin: float, *, differs: str | None
) -> Iterator[Change]:
    then_ms, now_ms = (np.array(variant["samples_ms"], dtype=np.float64) for variant in (old, now))
    for metric, q in _QUANTILES.items():
        if not len(then_ms) or not len(now_ms):
            continue
        figures = (now["name"], metric, float(np.quantile(then_ms, q)), float(np.quantile(now_ms, q)))
        if differs is not None:
            yield Change(*figures, "undecided", f"measured {differs}")
            continue
        low, high = quantile_bounds(then_ms, q, error / 2)
        new_low, new_high = quantile_bounds(now_ms, q, error / 2)
        bounds = f"{_range(low, high)} ms then, {_range(new_low, new_high)} ms now"
        yield Change(*figures, _finding((low, high), (new_low, new_high), margin), bounds)


def _finding(then: tuple[float | None, float | None], now: tuple[float | None, float | None], margin: float) -> Finding:
    low, high = then
    new_low, new_high = now
    if new_low is not None and high is not None and new_low > high * (1 + margin):
        return "regression"
    if new_high is not None and low is not None and new_high < low / (1 + margin):
        return "improvement"
    return "undecided" if None in (*then, *now) else "same"


def _range(low: float | None, high: float | None) -> str:
    return f"{'?' if low is None else f'{low:.4g}'} to {'?' if high is None else f'{high:.4g}'}"


def _exact(old: Mapping[str, Any], now: Mapping[str, Any], margin: float) -> Iterator[Change]:
    figures = dict(_EXACT)
    if old.get("peak_rss_bytes") and now.get("peak_rss_bytes"):
        figures["peak_rss_bytes"] = 1
    for metric, worse in figures.items():
        then, current = old.get(metric), now.get(metric)
        if then is None or current is None:
            continue
        allowed = margin * abs(then) if metric == "peak_rss_bytes" else 0.0
        growth = worse * (current - then)
        finding: Finding = "regression" if growth > allowed else "improvement" if growth < -allowed else "same"
        yield Change(now["name"], metric, float(then), float(current), finding, f"{then:,} then, {current:,} now")
