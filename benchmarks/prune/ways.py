"""Three ways to choose what goes, side by side at the same latency: by latency, by multiply-accumulates, evenly.

    python -m benchmarks.prune.ways cut --data DATA --work FOLDER         (wants a quiet machine for the first half minute)
    python -m benchmarks.prune.ways evaluate --data DATA --work FOLDER
    python -m benchmarks.prune.ways measure --work FOLDER                 (wants a quiet machine)
    python -m benchmarks.prune.ways plot --work FOLDER --output docs/images/pruning-ways.svg

All choose among the same versions of the heads and neurons of DATA/sst2_teacher (OBS, 128 training sentences, seed 0), without
a search over whole models and without training: by latency and by multiply-accumulates with the least sum of what each version
changes at the outputs, evenly with the same share of every part. The budget of multiply-accumulates is the largest whose
choice is predicted to be as fast as asked for. `evaluate` judges on the test split, `measure` times all files in turns.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from torch import nn

from edgeopt.cli.training_inputs import training_samples
from edgeopt.data.select import limited
from edgeopt.models.load import load_model
from edgeopt.prune.allocation.dynamic import choose
from edgeopt.prune.choice import PartAllocation, Setting, apply_levels
from edgeopt.prune.config import PruneOptions
from edgeopt.prune.latency.bench import bench
from edgeopt.prune.structure.anatomy import anatomy_of
from edgeopt.prune.surgery import Choice, operate
from edgeopt.stages.pruned_files import Timing, latency_costs
from edgeopt.targets.target import load_target

_TARGET, _TURNS, _SAMPLES, _HALVINGS = "x86-vnni", 7, 128, 12
_LEVELS = (0.7, 0.5, 0.35, 0.25)
WAYS = ("by latency", "by multiply-accumulates", "evenly")


def main() -> None:
    """Prune, measure or plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cut", "evaluate", "measure", "plot"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    table = arguments.work / "ways.json"
    if arguments.what == "cut":
        table.write_text(json.dumps(_cut(str(arguments.data / "sst2_teacher"), arguments.work), indent=1), encoding="utf-8")
        return
    rows = json.loads(table.read_text(encoding="utf-8"))
    if arguments.what == "plot":
        arguments.output.write_text(drawn(rows), encoding="utf-8")
        return
    made = _timed(rows) if arguments.what == "measure" else _evaluated(rows, str(arguments.data / "sst2_teacher"))
    table.write_text(json.dumps(made, indent=1), encoding="utf-8")
    for row in made:
        print(" | ".join(f"{value:.4f}" if isinstance(value, float) else str(value) for value in row.values()))


def _cut(teacher: str, work: Path) -> list[dict[str, object]]:
    """Export the whole model and the pruned ones below `work`; return what was asked of each, and its predicted time."""
    loaded, target = load_model(teacher), load_target(_TARGET)
    module, samples = loaded.module.eval(), training_samples("sst2", loaded)
    timing = Timing(target, samples=samples)
    setting = Setting(latency_costs(timing, task=loaded.task), target.pruning.step)
    parts, calibration = anatomy_of(module).parts, limited(samples, _SAMPLES, seed=0)
    by_ms, by_macs = (
        PartAllocation(module, parts, calibration, options, setting)
        for options in (PruneOptions(latency="0.5x"), PruneOptions(macs=0.5))
    )
    by_macs.levels, by_macs.compared = by_ms.levels, by_ms.compared
    whole = {part.name: part.units for part in by_ms.parts}
    chosen = [("whole", 1.0, whole)]
    for level in _LEVELS:
        even = PartAllocation(module, parts, calibration, PruneOptions(latency=f"{level}x", scope="layer"), setting)
        even.levels = by_ms.levels
        by_latency = choose(by_ms.offered(by_ms.compared), level * by_ms.whole - by_ms.costs.rest)
        as_fast = _as_fast(by_macs, by_ms, level)
        for way, counts in zip(WAYS, (by_latency, as_fast, even.choose()[0].chosen), strict=True):
            chosen.append((way, level, dict(counts or whole)))
    rows: list[dict[str, object]] = []
    for number, (way, level, counts) in enumerate(chosen):
        folder = work / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        timing.export(_pruned(module, by_ms, counts), loaded.task, folder)
        predicted = by_ms.costs.total(by_ms.parts, counts)
        rows.append({"way": way, "level": level, "units": counts, "predicted": predicted, "folder": str(folder)})
    return rows


def _as_fast(by_macs: PartAllocation, by_ms: PartAllocation, level: float) -> Mapping[str, int]:
    """Return the choice for the largest budget of multiply-accumulates whose predicted time is `level` of the whole model's."""
    low, high, best = 0.0, 1.0, {part.name: part.least for part in by_macs.parts}
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        found = choose(by_macs.offered(by_macs.compared), middle * by_macs.whole - by_macs.costs.rest)
        if found is None or by_ms.costs.total(by_ms.parts, found) <= level * by_ms.whole:
            low, best = middle, found or best
        else:
            high = middle
    return best


def _pruned(module: nn.Module, allocation: PartAllocation, counts: Mapping[str, int]) -> nn.Module:
    made = copy.deepcopy(module)
    apply_levels(made, allocation.parts, allocation.levels, counts)
    choices = [Choice(part, allocation.levels[part.name][counts[part.name]].kept) for part in allocation.parts]
    operate(made, choices, allocation.samples.collate([0, 1]))
    return made


def _evaluated(rows: Sequence[Mapping[str, object]], teacher: str) -> list[dict[str, object]]:
    """Return the rows with accuracies on the test split."""
    command = [sys.executable, "-m", "edgeopt", "evaluate", *map(str, _files(rows)), "--data", "sst2", "--tokenizer", teacher]
    done = subprocess.run([*command, "--format", "json"], stdout=subprocess.PIPE, check=True)
    judged = json.loads(done.stdout)["models"]
    return [
        {**row, "accuracy": found["value"], "agreement": found["agreement"]} for row, found in zip(rows, judged, strict=True)
    ]


def _timed(rows: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """Return the rows with times."""
    timing, files = Timing(load_target(_TARGET)), _files(rows)
    inputs = [timing.inputs(file) for file in files]
    with bench(timing.target) as made:
        turns = [[made.time_ms(*one) for one in zip(files, inputs, strict=True)] for _ in range(_TURNS)]
    times = [float(value) for value in np.median(np.array(turns), axis=0)]
    return [{**row, "ms": ms, "times": times[0] / ms} for row, ms in zip(rows, times, strict=True)]


def _files(rows: Sequence[Mapping[str, object]]) -> list[Path]:
    return [Path(str(row["folder"])) / "model.onnx" for row in rows]


_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 640, 400, 64, 24, 48, 56
_FONT = 'role="img" font-family="system-ui, sans-serif" font-size="13"'
_HUES = ("#1e6fb8", "#d9822b", "#2e7d32")


def drawn(rows: Sequence[Mapping[str, object]]) -> str:
    """Return accuracy over measured latency as SVG, one line for each way; each begins at the whole model."""
    points = [(float(str(row["ms"])), float(str(row["accuracy"]))) for row in rows]
    low_x, high_x = 0.0, max(x for x, _ in points)
    low_y, high_y = min(y for _, y in points), max(y for _, y in points)
    low_y, high_y = np.floor(low_y * 50) / 50, np.ceil(high_y * 50) / 50

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = (x - low_x) / (high_x - low_x), (y - low_y) / (high_y - low_y)
        return _LEFT + across * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)

    size = f'width="{_WIDTH}" height="{_HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {size} {_FONT}>',
        "  <title>Accuracy against latency, by what the choice is made by</title>",
        f'  <rect {size} rx="8" fill="#ffffff"/>',
        f'  <path d="M{_LEFT} {_TOP}V{_HEIGHT - _BOTTOM}H{_WIDTH - _RIGHT}" fill="none" stroke="#455a64"/>',
        f'  <text x="{_WIDTH / 2}" y="{_HEIGHT - 14}" text-anchor="middle">ms, 64 tokens, one thread</text>',
        f'  <text x="{_LEFT}" y="24">accuracy (SST-2, test)</text>',
    ]
    for place in range(5):
        x, y = high_x * (place + 1) / 5, low_y + (high_y - low_y) * place / 4
        parts += [
            f'  <text x="{at(x, low_y)[0]:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{x:.1f}</text>',
            f'  <text x="{_LEFT - 8}" y="{at(0, y)[1] + 4:.1f}" text-anchor="end">{y:.3f}</text>',
        ]
    for place, way in enumerate(WAYS):
        own = [point for point, row in zip(points, rows, strict=True) if row["way"] in (way, "whole")]
        line = [at(*point) for point in sorted(own)]
        hue, height = _HUES[place % len(_HUES)], _HEIGHT - _BOTTOM - 20 * (len(WAYS) - place)
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
        parts.append(f'  <polyline points="{path}" fill="none" stroke="{hue}" stroke-width="2"/>')
        parts += [f'  <circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{hue}"/>' for x, y in line]
        parts.append(f'  <text x="{_WIDTH - _RIGHT - 8}" y="{height}" text-anchor="end" fill="{hue}">{escape(way)}</text>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    main()
