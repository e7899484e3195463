"""What `edgeopt prune` runs: load, prune, recover, and evaluate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeopt.errors import RecipeError

if TYPE_CHECKING:
    from edgeopt.data.samples import Samples
    from edgeopt.models.load import LoadedModel
    from edgeopt.prune.config import PruneOptions
    from edgeopt.prune.result import PruneResult

_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600}


@dataclass(frozen=True)
class Pruning:
    """One model, its data and its target; each call prunes it again from the start.

    Attributes:
        source: the model.
        train: training samples.
        target: name of the target.
        evaluate: labelled samples, or None.
        teacher: the recovery's teacher; None: the model.
        builder: code that a saved folder may run.
        seed: of everything random.
    """

    source: str
    train: str
    target: str
    evaluate: str | None = None
    teacher: str | None = None
    builder: str | None = None
    seed: int = 0

    def load(self) -> LoadedModel:
        """Return the model."""
        from edgeopt.models.load import load_model

        return load_model(self.source, source_builder=self.builder)

    def samples(self, model: LoadedModel) -> Samples:
        """Return the training samples."""
        from edgeopt.cli.training import training_samples

        return training_samples(self.train, model)

    def __call__(self, output: Path, options: PruneOptions, *, seconds: float | None = None) -> PruneResult:
        """Prune the model into the folder `output`; the recovery takes at most `seconds`."""
        from edgeopt.cli.training import resumable
        from edgeopt.models.load import load_model
        from edgeopt.prune.stage import PruneSession
        from edgeopt.prune.stage import prune as run
        from edgeopt.targets.target import load_target

        target = load_target(self.target)
        loaded = self.load()
        guide = load_model(self.teacher or self.source, source_builder=self.builder)
        samples = self.samples(loaded)
        known = options.model_dump(mode="json")
        with resumable(output, seed=self.seed, models=[loaded, guide], samples=samples, options=known) as session:
            told = PruneSession(**vars(session), step=target.pruning.step, seconds=seconds)
            return run(loaded, guide, samples, output=output, options=options, session=told)


def share_of(option: str, text: str | None) -> float | None:
    """Return the share in ``0.5x``, ``0.5`` or ``50%``.

    Raises:
        RecipeError: it is none of these.
    """
    if text is None:
        return None
    plain, scale = (text[:-1], 0.01) if text.endswith("%") else (text.removesuffix("x"), 1.0)
    try:
        return float(plain) * scale
    except ValueError as error:
        raise RecipeError(f"{option} {text}: write a share such as 0.5x") from error


def seconds_of(option: str, text: str | None) -> float | None:
    """Return the seconds in ``20m``, ``90s``, ``1h`` or ``90``.

    Raises:
        RecipeError: it is none of these.
    """
    if text is None:
        return None
    unit = next((unit for unit in ("min", "m", "h", "s") if text.endswith(unit)), "")
    try:
        seconds = float(text.removesuffix(unit)) * _SECONDS.get(unit, 1)
    except ValueError as error:
        raise RecipeError(f"{option} {text}: write a time such as 20m, 90s or 1h") from error
    if seconds <= 0:
        raise RecipeError(f"{option} {text}: must be more than nothing")
    return seconds
