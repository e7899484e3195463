"""Checks of samples, with findings sample by sample.

error    not finite    a NaN or an infinity, but in a mask of 0 and -inf
error    range         values outside the range of the preprocessing or the manifest
warning  range         whole numbers up to 255 in a floating-point input of unknown range: possibly raw pixels
warning  constant      all values of a floating-point input are the same
warning  duplicate     equal to an earlier sample
warning  leak          equal to a sample of the evaluation set
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgeopt.batches import Array
from edgeopt.data.samples import Sample, Samples, sample_digest
from edgeopt.errors import DataError

Ranges = Mapping[str, tuple[float, float]]
What = Literal["not finite", "range", "constant", "duplicate", "leak"]
_SLACK = 1e-3  # of the range's width: resizing overshoots no more than rounding does


@dataclass(frozen=True)
class Finding:
    """One finding about one sample."""

    severity: Literal["error", "warning"]
    what: What
    sample: int
    message: str


def is_additive_mask(array: Array) -> bool:
    """Return whether an array is a mask that is added to scores: 0 for what counts, -inf for what does not."""
    hidden = np.isneginf(array) if np.issubdtype(array.dtype, np.floating) else np.zeros(0, bool)
    return bool(hidden.any()) and not hidden.all() and not np.any(array[~hidden])


def check_sample(sample: Sample, index: int, ranges: Ranges) -> Iterator[Finding]:
    """Yield the findings about one sample alone; `ranges` give the [low, high] of inputs where they are known."""
    for name, array in sample.items():
        if not np.issubdtype(array.dtype, np.floating) or not array.size:
            continue
        where = f"sample {index}, input '{name}'"
        finite = np.isfinite(array)
        if is_additive_mask(array):
            continue
        if not finite.all():
            place = [int(axis) for axis in np.argwhere(~finite)[0]]
            message = f"{where}: holds {array[tuple(place)]} at index {place}; remove or repair the sample"
            yield Finding("error", "not finite", index, message)
            continue
        low, high = float(array.min()), float(array.max())
        yield from _range(index, name, array, (low, high), ranges.get(name))
        if low == high and array.size > 1:
            message = f"{where}: all {array.size:,} values are {low:g}; is the file empty or black?"
            yield Finding("warning", "constant", index, message)


def _range(
    index: int, name: str, array: Array, seen: tuple[float, float], allowed: tuple[float, float] | None
) -> Iterator[Finding]:
    where = f"sample {index}, input '{name}': values reach from {seen[0]:g} to {seen[1]:g}"
    if allowed is None:
        if seen[0] >= 0 and 200 < seen[1] <= 255 and bool((array == np.round(array)).all()):
            message = f"{where} and are all whole: pixels that should have been normalised? If not, ignore this"
            yield Finding("warning", "range", index, message)
        return
    slack = _SLACK * (allowed[1] - allowed[0]) if np.isfinite(allowed).all() else 0.0
    if seen[0] < allowed[0] - slack or seen[1] > allowed[1] + slack:
        raw = " (0–255 where normalised values were meant?)" if seen[0] >= 0 and seen[1] > 1.5 * allowed[1] else ""
        message = f"{where}, the preprocessing gives {allowed[0]:g} to {allowed[1]:g}{raw}; prepare it as the model was trained"
        yield Finding("error", "range", index, message)


def check_samples(samples: Samples, *, ranges: Ranges | None = None, evaluated: Collection[str] = ()) -> list[Finding]:
    """Return all findings about `samples`, in their order.

    Args:
        samples: read one at a time; only hashes are kept.
        ranges: the [low, high] of inputs where they are known.
        evaluated: hashes (`sample_digest`) of the evaluation samples.
    """
    findings: list[Finding] = []
    first: dict[str, int] = {}
    for index in range(len(samples)):
        sample = samples[index]
        findings.extend(check_sample(sample, index, ranges or {}))
        digest = sample_digest(sample)
        if digest in evaluated:
            message = f"sample {index} is also in the evaluation set, which would make the result look better than it is"
            findings.append(Finding("warning", "leak", index, message))
        if digest in first:
            findings.append(Finding("warning", "duplicate", index, f"sample {index} equals sample {first[digest]}"))
        first.setdefault(digest, index)
    return findings


def digests(samples: Samples) -> frozenset[str]:
    """Return the hashes of all samples."""
    return frozenset(sample_digest(samples[index]) for index in range(len(samples)))


def raise_errors(findings: list[Finding]) -> None:
    """Raise the first error among the findings, with the number of samples that have one.

    Raises:
        DataError: there is an error.
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        bad = len({finding.sample for finding in errors})
        more = f" ({bad} samples have such errors)" if bad > 1 else ""
        raise DataError(f"calibration {errors[0].message}{more}")


def warnings_of(findings: list[Finding]) -> list[str]:
    """Return one line per kind of warning: the first in full, and the indices of the others."""
    lines = []
    for what, count in Counter(finding.what for finding in findings if finding.severity == "warning").items():
        numbers = [finding.sample for finding in findings if finding.what == what and finding.severity == "warning"]
        first = next(finding.message for finding in findings if finding.what == what and finding.severity == "warning")
        others = ", ".join(map(str, numbers[1:9])) + (", …" if count > 9 else "")
        lines.append(f"calibration {first}" + (f" (and {count - 1} more: {others})" if count > 1 else ""))
    return lines
