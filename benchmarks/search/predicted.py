"""Predicted and measured latency of what the dynamic programme proposes: int8 models that no table or correction has seen.

    python -m benchmarks.search.predicted MODEL FORECAST [--target x86-vnni]

FORECAST is the file `forecasts/TARGET/forecast.json` of a search. The proposed models are sliced out of the exported MODEL,
quantized and timed whole. Wants a quiet machine: about four seconds per model.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from edgeopt.errors import DataError
from edgeopt.models.load import load_model
from edgeopt.prune.allocation.forecast import Forecast
from edgeopt.prune.structure.anatomy import anatomy_of
from edgeopt.search.knobs import OFF
from edgeopt.search.proposals import EXCLUDE, UNITS, propose
from edgeopt.stages.pruned_files import Timing, measuring
from edgeopt.stages.results import read_facts
from edgeopt.targets.target import load_target

_COUNT = 8


def main() -> None:
    """Print one row per proposal, and the errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("forecast", type=Path)
    parser.add_argument("--target", default="x86-vnni")
    arguments = parser.parse_args()
    known = read_facts("forecast", json.loads(arguments.forecast.read_text(encoding="utf-8")))
    if not isinstance(known, Forecast):
        raise DataError(f"{arguments.forecast}: no forecast")
    loaded = load_model(arguments.model)
    parts = anatomy_of(loaded.module).parts
    proposals = [one for one in propose({arguments.target: known}, [], count=_COUNT) if not one.setting[EXCLUDE]]
    timing = Timing(load_target(arguments.target), "int8")
    errors = []
    print("| units left | predicted ms | measured ms | error |\n|---|---|---|---|")
    with measuring(timing, loaded.module, parts, task=loaded.task) as measurer:
        for one in proposals:
            left = {} if one.setting[UNITS] == OFF else one.setting[UNITS]
            units = {part.name: left.get(part.name, part.units) for part in parts}
            if not all(units.values()):  # a block of nothing cannot be sliced
                continue
            predicted, ms = one.figures["p50_ms"], measurer.whole_ms(units)
            errors.append(predicted / ms - 1)
            share = np.mean([units[part.name] / part.units for part in parts])
            print(f"| {share:.0%} | {predicted:.3f} | {ms:.3f} | {errors[-1]:+.1%} |", flush=True)
    print(
        f"{len(errors)} models, mean of the errors' sizes {np.mean(np.abs(errors)):.1%}, at most {np.max(np.abs(errors)):.1%}"
    )


if __name__ == "__main__":
    main()
