"""Several models on the same samples: their answers, and times that can be compared.

Whatever disturbs the machine should disturb all alike, so every sample is seen by all models before the next one. Two things
are taken care of: the order is drawn again for each sample, since the one after the largest model finds the caches full of its
weights (in a fixed order the same file was 6 % slower behind floating point than at the end); and each model runs twice on a
sample, of which the second is timed, as in a service that runs one model again and again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeopt.graph.session import open_session


def in_turns(
    files: Mapping[str, Path], samples: Iterable[Mapping[str, NDArray[Any]]]
) -> tuple[dict[str, NDArray[Any]], dict[str, list[float]]]:
    """Return the first output of every model on all samples, [samples, …], and its seconds on each sample."""
    sessions = {name: open_session(path) for name, path in files.items()}
    names, generator = list(sessions), np.random.default_rng(0)
    answers: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    for sample in samples:
        for place in generator.permutation(len(names)):
            name = names[place]
            session, feed = sessions[name], dict(sample)
            answers[name].append(np.asarray(session.run(None, feed)[0], dtype=np.float64))
            start = time.perf_counter()
            session.run(None, feed)
            times[name].append(time.perf_counter() - start)
    return {name: np.concatenate(values) for name, values in answers.items()}, times
