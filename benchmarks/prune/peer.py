"""torch-pruning with its defaults, as a folder that `edgeopt distill --student` trains like one of ours.

    python -m benchmarks.prune.peer MODEL --builder module:function --data DATA --macs 0.335 -o FOLDER

`BasePruner` with `GroupMagnitudeImportance`, one step, the same share of every group (`global_pruning` and `round_to` are off
by default), residual channels among them; the output layer is ignored, as its documentation does. The share is the smallest,
by bisection, at which no more than `--macs` of the multiply-accumulates are left. It fits and trains nothing.
"""

from __future__ import annotations

import argparse
import copy
import warnings
from dataclasses import replace
from pathlib import Path

import torch_pruning
from torch import nn

from edgeopt.batches import Batch
from edgeopt.cli.training_inputs import training_samples
from edgeopt.models.call import to_tensors
from edgeopt.models.kept import Kept
from edgeopt.models.load import Origin, load_model
from edgeopt.models.save import save_model
from edgeopt.models.size import measure
from edgeopt.prune.heads import heads
from edgeopt.prune.tracker import Tracker

_HALVINGS = 12


def main() -> None:
    """Prune and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--builder", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--macs", type=float, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    loaded = load_model(arguments.model, source_builder=arguments.builder)
    sample = training_samples(arguments.data, loaded).collate([0])
    whole, low, high = measure(loaded.module, sample), 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        left = measure(_pruned(loaded.module, sample, middle)[0], sample)
        low, high = (low, middle) if left.macs <= arguments.macs * whole.macs else (middle, high)
    module, kept = _pruned(loaded.module, sample, high)
    left = measure(module, sample)
    origin = replace(loaded.origin or Origin(arguments.builder, {}), kept=kept, task=loaded.task, labels=loaded.labels)
    save_model(module, arguments.output, origin=origin)
    print(f"{high:.1%} of every group: {left.macs:,} of {whole.macs:,} multiply-accumulates, {left.parameters:,} parameters")


def _pruned(model: nn.Module, sample: Batch, share: float) -> tuple[nn.Module, Kept]:
    """Return a copy without `share` of every group's channels, and the channels that are left."""
    module = copy.deepcopy(model).eval()
    tracked = Tracker(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pruner = torch_pruning.pruner.BasePruner(
            module,
            to_tensors(sample),
            importance=torch_pruning.importance.GroupMagnitudeImportance(),
            pruning_ratio=share,
            ignored_layers=heads(module, sample),
            forward_fn=lambda traced, inputs: traced(**inputs),
        )
        for group in pruner.step(interactive=True):
            tracked.note(group, pruner.DG)
            group.prune()
    return module, tracked.kept()


if __name__ == "__main__":
    main()
