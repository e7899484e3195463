"""Several data sets as one, for training on labelled and unlabelled samples together."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgeopt.data.samples import Sample, Samples
from edgeopt.errors import DataError


def joined(parts: Sequence[Samples]) -> Samples:
    """Return the samples of all `parts`, in order, without labels.

    Raises:
        DataError: a part is empty, or its samples have other inputs than those of the first.
    """
    first = parts[0]
    for number, part in enumerate(parts):
        if not len(part):
            raise DataError(f"data set {number + 1} of {len(parts)} has no samples")
        if set(part[0]) != set(first[0]):
            raise DataError(f"data sets with other inputs cannot be joined: {', '.join(first[0])} and {', '.join(part[0])}")
    starts = np.cumsum([0, *(len(part) for part in parts)])

    def read(index: int) -> Sample:
        number = int(np.searchsorted(starts, index, side="right")) - 1
        return parts[number].read(index - int(starts[number]))

    digest = hashlib.sha256(" ".join(part.digest for part in parts).encode()).hexdigest()
    return replace(first, count=int(starts[-1]), read=read, labels=None, annotations=None, digest=digest)
