"""Accuracy and agreement, with intervals that are valid for few samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from edgeopt.batches import Array
from edgeopt.data.labels import check_labels
from edgeopt.errors import DataError


@dataclass(frozen=True)
class Proportion:
    """A share of samples with its confidence interval."""

    value: float
    low: float
    high: float


def wilson(successes: int, count: int, confidence: float) -> Proportion:
    """Return successes / count with its score interval (Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953)."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / count
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return Proportion(share, max(0.0, centre - half), min(1.0, centre + half))


def right(logits: Array, labels: NDArray[np.int64], *, where: str = "accuracy") -> NDArray[np.bool_]:
    """Return for each sample whether its largest logit [N, classes] is the label's [N]; `where` begins the errors.

    Raises:
        DataError: these are not logits of the labelled samples, or a label is none of the classes.
    """
    if logits.ndim != 2 or len(logits) != len(labels):
        raise DataError(f"{where} has shape {list(logits.shape)}; [samples, classes] is needed, for {len(labels):,} samples")
    check_labels(labels, logits.shape[1], where=where)
    return np.asarray(logits.argmax(axis=1) == labels)


def accuracy(logits: Array, labels: NDArray[np.int64], *, confidence: float) -> Proportion:
    """Return the share of samples whose largest logit [N, classes] is the label's [N].

    Raises:
        DataError: as `right`.
    """
    return wilson(int(right(logits, labels).sum()), len(labels), confidence)


def agreement(logits: Array, reference: Array) -> float:
    """Return the share of samples whose best class is the same in both, [N, classes] each."""
    return float((logits.argmax(axis=1) == reference.argmax(axis=1)).mean())


def relative_rms_error(values: Array, reference: Array) -> float:
    """Return the root-mean-square error of `values` as a share of the root mean square of `reference`."""
    scale = float(np.sqrt(np.mean(np.square(reference, dtype=np.float64))))
    error = float(np.sqrt(np.mean(np.square(values.astype(np.float64) - reference))))
    return error / scale if scale > 0 else error
