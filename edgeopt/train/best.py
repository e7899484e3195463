"""The weights of the best evaluation: in the checkpoint's folder, or in memory where there is none."""

from __future__ import annotations

import math
from pathlib import Path

from torch import Tensor, nn

from edgeopt.train.checkpoint import Progress, load_weights, save_weights


class BestWeights:
    """Keeps the weights with the largest merit.

    A file is written before the checkpoint that names it, and older ones are removed after that, so that a kill at any moment
    leaves a checkpoint whose best weights exist.
    """

    def __init__(self, folder: Path | None, state: Progress) -> None:
        self._folder, self._state = folder, state
        self._kept: dict[str, Tensor] = {}

    def offer(self, model: nn.Module, merit: float, *, main: bool) -> bool:
        """Keep the weights of `model` if no evaluation before was as good; return whether they are kept."""
        state = self._state
        if math.isnan(merit) or (state.best_merit is not None and merit <= state.best_merit):
            return False
        state.best_merit, state.best_step = merit, state.step
        if self._folder is None:
            self._kept = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
        elif main:
            save_weights(self._file(state.step), model)
        return True

    def worse_since(self, state: Progress) -> int:
        """Return the number of evaluations after the best one."""
        return sum(entry["step"] > (state.best_step or 0) for entry in state.evaluations)

    def forget_others(self) -> None:
        """Remove the files of evaluations that were best before."""
        if self._folder is None or self._state.best_step is None:
            return
        kept = self._file(self._state.best_step)
        for other in self._folder.glob("best-*.safetensors"):
            if other != kept:
                other.unlink(missing_ok=True)

    def restore(self, model: nn.Module) -> int | None:
        """Load the best weights into `model` and return their step; None: nothing was evaluated."""
        step = self._state.best_step
        if step is None:
            return None
        if self._folder is None:
            model.load_state_dict(self._kept)
        else:
            load_weights(self._file(step), model)
        return step

    def _file(self, step: int) -> Path:
        folder = self._folder or Path()
        return folder / f"best-{step}.safetensors"
