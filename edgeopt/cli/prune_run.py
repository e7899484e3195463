"""What `edgeopt prune` runs: load, prune, recover, and evaluate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeopt.errors import DataError, ModelError, RecipeError

if TYPE_CHECKING:
    from edgeopt.cli.lost import Candidate
    from edgeopt.data.samples import Samples
    from edgeopt.models.load import LoadedModel
    from edgeopt.prune.config import PruneOptions
    from edgeopt.prune.result import PruneResult
    from edgeopt.stages.pruned_files import ExportedFigures, Timing


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
        from edgeopt.cli.training_inputs import training_samples

        return training_samples(self.train, model)

    def __call__(self, output: Path, options: PruneOptions, *, seconds: float | None = None) -> PruneResult:
        """Prune the model into the folder `output`; the recovery takes at most `seconds`."""
        from edgeopt.cli.training_inputs import resumable
        from edgeopt.models.load import load_model
        from edgeopt.prune.stage import PruneSession
        from edgeopt.prune.stage import prune as run
        from edgeopt.stages.pruned_files import latency_costs, latency_of
        from edgeopt.targets.target import load_target

        target = load_target(self.target)
        loaded = self.load()
        guide = load_model(self.teacher or self.source, source_builder=self.builder)
        samples = self.samples(loaded)
        known = options.model_dump(mode="json")
        with resumable(output, seed=self.seed, models=[loaded, guide], samples=samples, options=known) as session:
            timing = self.timing(options, samples)
            costs = latency_costs(timing, task=loaded.task, seed=self.seed)
            told = PruneSession(
                **vars(session),
                costs_of=costs,
                latency_of=latency_of(timing, task=loaded.task),
                step=target.pruning.step,
                seconds=seconds,
                reread=lambda folder: self.samples(replace(loaded, folder=folder)),
            )
            return run(loaded, guide, samples, output=output, options=options, session=told)

    def timing(self, options: PruneOptions, samples: Samples) -> Timing:
        """Return where and on what latency is measured."""
        from edgeopt.stages.pruned_files import Timing
        from edgeopt.targets.target import load_target

        return Timing(load_target(self.target), options.precision, options.sequence, samples)

    def exported(self, output: Path, options: PruneOptions, *, latency: bool) -> tuple[ExportedFigures, ExportedFigures]:
        """Export the whole model and the one in `output`; return what both files have."""
        from edgeopt.models.load import load_model
        from edgeopt.stages.pruned_files import exported_figures

        whole = self.load()
        timing = self.timing(options, self.samples(whole))
        again = load_model(output, source_builder=self.builder)
        sparse = options.sparsity is not None
        before, after = (exported_figures(timing, one, latency=latency, compressed=sparse) for one in (whole, again))
        return before, after

    def exported_lines(self, result: PruneResult, options: PruneOptions) -> Iterator[str]:
        """Export both models, check that the file became smaller as planned, and yield what to say about it.

        Raises:
            ModelError: it did not.
        """
        from edgeopt.stages.pruned_files import check_compressed, check_fell

        plan = result.allocation
        try:
            before, after = self.exported(result.path, options, latency=options.latency is not None)
        except (ModelError, DataError) as error:
            yield f"not exported, so the file's size is not checked: {error}"
            return
        if before.compressed_bytes and after.compressed_bytes:
            check_compressed(before, after)
            yield f"compressed: {after.compressed_bytes / 1e6:.2f} MB of {before.compressed_bytes / 1e6:.2f}"
        if result.zeros and result.before.parameters == result.after.parameters:
            return  # zeros are stored like any other value
        counted = plan is not None and plan.unit != "ms"
        share = plan.planned / plan.whole if plan is not None and counted else None
        check_fell(before, after, planned=share, asked=options.asked(), module=result.after)
        yield f"exported: {after.size_bytes / 1e6:.2f} MB of {before.size_bytes / 1e6:.2f}, {after.parameters:,} parameters"
        if before.latency_ms and after.latency_ms:
            slower = " (not faster!)" if after.latency_ms >= before.latency_ms else ""
            yield (
                f"measured on {self.target}, {options.precision}: {after.latency_ms:.3g} ms of {before.latency_ms:.3g}, "
                f"{before.latency_ms / after.latency_ms:.2f} x as fast{slower}"
            )


def accuracy_lines(run: Pruning, output: Path) -> Iterator[str]:
    """Evaluate the whole and the pruned model, and yield what was lost."""
    from edgeopt.cli.lost import lost_lines, seen_lines

    whole, pruned = candidates(run, output)
    yield from lost_lines(whole, pruned) if run.evaluate else seen_lines(whole, pruned)


def candidates(run: Pruning, output: Path) -> tuple[Candidate, Candidate]:
    """Return the whole and the pruned model with the samples of --evaluate; without it, with some of --train."""
    from edgeopt.cli.lost import SEEN, Candidate
    from edgeopt.cli.training_inputs import reader_samples
    from edgeopt.data.select import limited
    from edgeopt.models.load import load_model

    def opened(name: str, model: LoadedModel) -> Candidate:
        if run.evaluate:
            return Candidate(name, model, reader_samples(run.evaluate, model, split="evaluation"))
        return Candidate(name, model, limited(reader_samples(run.train, model, split="train"), SEEN, seed=run.seed))

    return opened(run.source, run.load()), opened(str(output), load_model(output, source_builder=run.builder))


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
