"""scikit-learn's handwritten digits: 1,797 grey 8×8 images with fixed splits.

A sample's split depends only on its index: samples are ordered by the SHA-256 of their index, so that no library's random
generator can change the splits.
"""

from __future__ import annotations

import hashlib

import numpy as np

from edgeopt.data.samples import Samples, from_arrays
from edgeopt.extras import need

SPLITS = {"train": (0, 1197), "calibration": (1197, 1397), "evaluation": (1397, 1797)}


def load_digits() -> dict[str, Samples]:
    """Return the splits of the digits: input ``image``, float32 [1, 8, 8] in 0–1.

    Raises:
        MachineError: scikit-learn is not installed.
    """
    need("sklearn", purpose="the data set of digits")
    from sklearn import datasets

    digits = datasets.load_digits()
    images = (digits.images / 16.0).astype(np.float32)[:, None]
    labels = digits.target.astype(np.int64)
    order = sorted(range(len(labels)), key=lambda index: hashlib.sha256(f"digit {index}".encode()).digest())
    return {
        name: from_arrays({"image": images[order[start:stop]]}, labels[order[start:stop]])
        for name, (start, stop) in SPLITS.items()
    }
