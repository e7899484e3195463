"""What the decode loop costs beside the graph: the time of greedy answers that is not inside `run_with_iobinding`.

python -m benchmarks.generate.overhead FOLDER --seconds 20
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.generate import Sampling, open_engine

_TOKENS = 64


class Timed:
    """A session that adds up the time of its runs."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.runs: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run_with_iobinding(self, binding: Any, options: Any = None) -> None:
        """Run, and note how long it took."""
        start = time.perf_counter()
        self._session.run_with_iobinding(binding, options)
        self.runs.append(time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generate.overhead", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    engine = open_engine(options.folder, threads=options.threads)
    timed = engine.session = Timed(engine.session)
    random, sampling = np.random.default_rng(0), Sampling(max_tokens=_TOKENS + 1, ignore_eos=True)
    shares, end = [], time.perf_counter() + options.seconds
    while time.perf_counter() < end:
        timed.runs.clear()
        answer = engine.generate(random.integers(5, engine.vocabulary, 128).tolist(), sampling)
        inside = sum(timed.runs[-_TOKENS:])
        shares.append(answer.decode_s / inside - 1)
    print(
        f"{len(shares)} answers of {_TOKENS} tokens: {np.median(shares):.1%} beside the graph (median), {min(shares):.1%} least"
    )


if __name__ == "__main__":
    main()
