"""Predicted against measured latency of a transformer with random numbers of heads and neurons.

    python -m benchmarks.prune.predicted MODEL [--target x86-vnni] [--precision fp32] [--count 30] [--seed 1] [--output FILE]

The table of blocks is filled and the correction fitted as `edgeopt prune --latency` does; then models with random widths are
measured whole, which the fit has not seen. Wants a quiet machine: a quarter of a second per model.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from edgeopt.models.load import load_model
from edgeopt.prune.choice import grid_of
from edgeopt.prune.latency.table import LatencyModel, Measurer, random_counts
from edgeopt.prune.structure.anatomy import anatomy_of
from edgeopt.stages.pruned_files import Timing, measuring
from edgeopt.targets.target import load_target

_LIMIT = 0.1


def main() -> None:
    """Measure and print one line per model and the share within 10 %."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--target", default="x86-vnni")
    parser.add_argument("--precision", choices=("fp32", "int8"), default="fp32")
    parser.add_argument("--sequence", type=int, default=64)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    target = load_target(arguments.target)
    loaded = load_model(arguments.model)
    parts = anatomy_of(loaded.module).parts
    grid = grid_of(loaded.module, parts, target.pruning.step)
    with measuring(Timing(target, arguments.precision, arguments.sequence), loaded.module, parts, task=loaded.task) as measurer:
        model = measurer.latency_model(grid)
        print(f"{model.base_ms:.3f} ms + {model.factor:.3f} · Σt; errors of the fit: {_spread(model.errors)}", flush=True)
        rows = measured(measurer, model, arguments.count, arguments.seed)
    errors = np.array([row["predicted_ms"] / row["measured_ms"] - 1 for row in rows])
    print(f"within 10 %: {int((abs(errors) <= _LIMIT).sum())} of {len(errors)}; errors: {_spread(errors.tolist())}")
    if arguments.output:
        times = {name: {str(units): ms for units, ms in known.items()} for name, known in model.times.items()}
        found = {"rows": rows, "times": times, "base_ms": model.base_ms, "factor": model.factor, "fit": model.errors}
        arguments.output.write_text(json.dumps(found, indent=1), encoding="utf-8")


def measured(measurer: Measurer, model: LatencyModel, count: int, seed: int) -> list[dict[str, float]]:
    """Return predicted and measured latency of `count` models with random widths."""
    grid = {name: [units for units in known if units] for name, known in model.times.items()}
    rows = []
    for counts in random_counts(measurer.parts, grid, count=count, seed=seed):
        row = {"predicted_ms": model.predict(counts, measurer.parts), "measured_ms": measurer.whole_ms(counts)}
        print(f"{row['predicted_ms']:7.3f} predicted {row['measured_ms']:7.3f} measured {counts.values()}", flush=True)
        rows.append(row)
    return rows


def _spread(errors: list[float]) -> str:
    return f"{min(errors):+.1%} to {max(errors):+.1%}, mean of their sizes {np.mean(np.abs(errors)):.1%}"


if __name__ == "__main__":
    main()
