"""Trackers by name: where Accelerate logs loss, metric and learning rate of a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate import Accelerator
from accelerate.state import AcceleratorState

from edgeopt.errors import RecipeError
from edgeopt.extras import need
from edgeopt.train.config import TrainOptions


def open_accelerator(options: TrainOptions, mixed_precision: str, folder: Path | None) -> Accelerator:
    """Return the accelerator, with the trackers that `options` name; TensorBoard's files are in `folder`.

    Raises:
        RecipeError: Accelerate knows no such tracker, or it needs a folder.
        MachineError: the tracker's package is not installed.
    """
    if "tensorboard" in options.trackers:
        need("tensorboard", purpose="logging to TensorBoard")
        if folder is None:
            raise RecipeError("train.trackers: tensorboard needs a folder for its files; name one (Session.logs)")
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != mixed_precision:
        AcceleratorState._reset_state()  # (Accelerate keeps the first training's precision for the whole process)
    try:
        return Accelerator(mixed_precision=mixed_precision, log_with=options.trackers or None, project_dir=folder)
    except ValueError as error:
        if not options.trackers:
            raise
        raise RecipeError(f"train.trackers {options.trackers}: {error}") from error


@contextmanager
def tracking(accelerator: Accelerator, options: TrainOptions) -> Iterator[None]:
    """Log to the trackers inside the block."""
    if not options.trackers:
        yield
        return
    accelerator.init_trackers("edgeopt")
    try:
        yield
    finally:
        accelerator.end_training()
