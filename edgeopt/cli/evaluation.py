"""The metric that `--max-drop` keeps, on labelled samples of the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeopt.data.samples import Samples
    from edgeopt.targets.target import Target


def metric(samples: Samples, target: Target) -> Callable[[Path], float]:
    """Return the accuracy of an ONNX classifier on `samples`, on the target's provider.

    Raises:
        DataError: the samples have no labels.
    """
    from edgeopt.errors import DataError
    from edgeopt.evaluate.accuracy import accuracy
    from edgeopt.evaluate.outputs import onnx_outputs

    labels = samples.labels
    if labels is None:
        raise DataError(
            "--max-drop needs labelled samples: store an integer array called 'labels' in the .npz file of --evaluate, "
            "or name a set that has labels"
        )

    def measure(path: Path) -> float:
        outputs = onnx_outputs(path, samples, provider=target.provider, name=Path(path).name)
        return accuracy(next(iter(outputs.values())), labels, confidence=0.95).value

    return measure
